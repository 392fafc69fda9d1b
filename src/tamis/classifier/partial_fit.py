"""Learn further labelled rows: the head is solved again, exactly, on all rows so far.

The trunk does not change. What the head is solved on besides the new rows:

only the head was trained     the training rows, with the objective and penalty of the training
the trunk was trained too     the training rows with the present predictions as targets, and a
                              penalty towards the present head
no training rows are known    nothing; a penalty towards the present head

It is the refit of `tamis learn` (feedback/refit.py) without its guards: every row counts, by its
weight. The result depends on the rows, not on how they were divided over the calls. Shapes: R
training rows, n further rows, C channels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.changes import HoldsPredictor, replace_predictor
from tamis.classifier.fitted import TrainingRecord
from tamis.classifier.inputs import as_column
from tamis.classifier.targets import as_labels, as_sample_weight, class_number, class_numbers
from tamis.classifier.training_features import read_training_rows, text_keys
from tamis.config import Recipe
from tamis.decision.calibration import softmax
from tamis.decision.verdict import DecisionRule
from tamis.errors import DataError
from tamis.head.class_weights import class_weights
from tamis.head.refit import LinearHead, Problem, head_of, solve_again
from tamis.head.result import Rows

Floats = NDArray[np.float64]
PULL, PULL_ALONE = 100.0, 1.0
"""Inverse strengths of the penalty towards the present head, with and without training rows; as in
feedback/guards.py."""


class LearningClassifier(HoldsPredictor, Protocol):
    """A fitted classifier; it may have `training_` and `origin_`, the folder it was loaded from."""

    classes_: NDArray[Any]
    recipe_: Recipe
    temperature_: float
    rule_: DecisionRule
    learned_rows_: LearnedRows


@dataclass(frozen=True)
class LearnedRows:
    """Everything that the head of a classifier is solved on."""

    features: Floats
    """(R + n, C) of length one"""
    targets: Floats
    """(R + n, K); rows sum to one"""
    weights: Floats
    """(R + n,), 0 where a later row of the same text has another label"""
    keys: NDArray[np.uint8]
    """(R + n, 32) SHA-256 of the texts"""
    labels: Rows
    """(R + n,) class numbers"""
    class_weights: Floats
    """(K,)"""
    inverse_penalty: float
    anchor: LinearHead | None
    """the head before the first further row, where the penalty pulls towards it"""
    temperature: float
    """of the solution: the head's logits are divided by it"""
    shift: Floats
    """(K,) then added to them"""

    def solved(self, start: LinearHead) -> LinearHead:
        """Return the optimum. It does not depend on `start`."""
        problem = Problem(
            self.features, self.targets, self.weights, self.inverse_penalty, self.anchor
        )
        shifted = LinearHead(start.weight, start.bias - self.shift + self.shift.mean())
        head = solve_again(problem, start=shifted.scaled(self.temperature)).head
        scaled = head.scaled(1 / self.temperature)
        return LinearHead(scaled.weight, scaled.bias + self.shift)

    def extended(
        self, features: Floats, labels: Rows, keys: NDArray[np.uint8], weights: Floats
    ) -> LearnedRows:
        """Return these rows and n further ones."""
        said = {key.tobytes(): label for key, label in zip(keys, labels.tolist(), strict=True)}
        kept = [
            said.get(key.tobytes(), label) == label
            for key, label in zip(
                np.concatenate([self.keys, keys]),
                np.concatenate([self.labels, labels]).tolist(),
                strict=True,
            )
        ]
        own = np.eye(len(self.class_weights))[labels]
        counts = np.concatenate([self.weights, weights * self.class_weights[labels]])
        return replace(
            self,
            features=np.concatenate([self.features, features]),
            targets=np.concatenate([self.targets, own]),
            weights=counts * np.array(kept),
            keys=np.concatenate([self.keys, keys]),
            labels=np.concatenate([self.labels, labels]),
        )


def learn_rows(
    classifier: LearningClassifier, texts: list[str], y: Any, sample_weight: Any = None
) -> None:
    """Solve the head of a classifier on all rows so far and n further ones, and let it answer.

    Raises:
        DataError: a label is unknown or missing, or weights are wrong.
        CheckpointError: the training rows in the folder of a loaded classifier are damaged.
    """
    classifier.rule_.require_one_label("learning")
    labels = class_numbers(y, len(texts), classifier.classes_)
    given = as_sample_weight(sample_weight, len(texts))
    weights = np.ones(len(texts)) if given is None else given
    if not texts:
        return
    rows = getattr(classifier, "learned_rows_", None) or _known_rows(classifier)
    features = classifier.predictor_.embed(texts).astype(np.float64)
    rows = rows.extended(features, labels, text_keys(texts), weights)
    head = rows.solved(head_of(classifier.predictor_.model))
    classifier.learned_rows_ = rows
    replace_predictor(classifier, classifier.predictor_.with_head(head))


def with_all_classes(y: Any, classes: Any) -> Any:
    """Return the labels of the first call. `fit` reads the texts.

    Raises:
        DataError: a label is wrong, or one of `classes` has no row.
    """
    if classes is None:
        return y
    listed = y if hasattr(y, "__len__") else list(y)
    labels = as_labels(listed, len(listed))
    check_classes(classes, np.unique(labels))
    return labels


def check_classes(classes: Any, known: NDArray[Any]) -> None:
    """Check that all classes are known.

    Raises:
        DataError: one is not.
    """
    if classes is None:
        return
    for label in as_column(classes, "classes", "all labels"):
        if class_number(label, known) is None:
            raise DataError(
                f"classes: {label!r:.60} has no row in the first call; every class needs one, "
                "because the trunk may be trained on these rows"
            )


def _known_rows(classifier: LearningClassifier) -> LearnedRows:
    """The rows that a classifier was fitted on, as far as they are known.

    Raises:
        CheckpointError: the training rows in its folder are damaged.
    """
    training: TrainingRecord | None = getattr(classifier, "training_", None)
    run: Path | None = getattr(classifier, "origin_", None)
    predictor, count = classifier.predictor_, len(classifier.classes_)
    head, recipe = head_of(predictor.model), classifier.recipe_
    channels, none = head.weight.shape[1], np.zeros(count)
    empty = LearnedRows(
        np.empty((0, channels)),
        np.empty((0, count)),
        np.empty(0),
        np.empty((0, 32), dtype=np.uint8),
        np.empty(0, dtype=np.int64),
        np.ones(count),
        PULL_ALONE,
        head,
        1.0,
        none,
    )
    if training is not None and training.features is not None:
        data = training.rows
        weights = class_weights(recipe, data.targets, data.classes, data.weights)
        own = 1.0 if data.weights is None else data.weights
        given = replace(
            empty,
            features=training.features.astype(np.float64),
            labels=data.targets,
            keys=training.keys,
            class_weights=weights,
            weights=weights[data.targets] * own,
        )
        penalty, shift = training.facts["inverse_penalty"], training.shift
        exact = not _has_others(recipe)
    else:
        rows = None if run is None else read_training_rows(run)
        if rows is None or list(rows.classes) != [str(label) for label in classifier.classes_]:
            return empty
        rows = (
            rows.selected(~rows.with_held_out().held_out) if rows.inverse_penalty is None else rows
        )
        given = replace(
            empty,
            features=rows.features.astype(np.float64),
            labels=rows.targets,
            keys=rows.keys,
            class_weights=rows.class_weights,
            weights=rows.class_weights[rows.targets],
        )
        penalty, shift, exact = rows.inverse_penalty, none, rows.inverse_penalty is not None
    if not exact:
        present = softmax(head.logits(given.features))
        return replace(given, targets=present, weights=np.ones(len(present)), inverse_penalty=PULL)
    return replace(
        given,
        targets=np.eye(count)[given.labels],
        inverse_penalty=float(penalty),
        anchor=None,
        temperature=classifier.temperature_,
        shift=shift,
    )


def _has_others(recipe: Recipe) -> bool:
    """Whether a head was solved on other rows than the training rows: copies, or a part of them."""
    copies = [
        value
        for name, value in recipe.train.model_dump().items()
        if name.startswith("augment_") and name != "augment_weight"
    ]
    return any(copies) or recipe.train.undersample
