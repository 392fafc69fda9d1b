"""Refits a served model's head on its training rows and corrections, and evaluates it on held-out
rows.

The training rows are those stored with the model (`training_rows`). There are three cases:

only the head was trained        refit on training rows and corrections, with the objective, penalty
                                 and class weights of training
the trunk was trained too        the training rows get the model's current predictions as targets,
                                 and the penalty is centred on its head: without corrections the
                                 optimum is the current head, and it moves only as far as
                                 corrections require
no training rows are stored      refit on corrections only, with a penalty towards the current head;
                                 no rows are held out
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import TrainingRows
from tamis.decision.calibration import softmax
from tamis.feedback.guards import LearningSettings, balance, figures, is_confident, too_few
from tamis.head.refit import LinearHead, Metric, Problem, head_of, solve_again

Floats = NDArray[np.float64]
FOLDS = 5
FOLD_TOLERANCE = 3e-4
"""Sufficient for verdicts on held-out rows: none of 5,000 differed from the optimum's."""
MOST_ROUNDS = 5
"""Most solves in one step: the first, and one after each increase of emphasis."""


class Interrupted(Exception):
    """The solve was stopped because other work is waiting; it has no result."""


def never() -> bool:
    """Return False: never stop."""
    return False


@dataclass(frozen=True)
class CorrectionRows:
    """n corrections as the head sees them, sorted by key, so their original order is irrelevant."""

    features: Floats
    """(n, C)"""
    targets: NDArray[np.int64]
    """(n,)"""
    force: NDArray[np.bool_]
    """(n,) learn even if the model is confident"""
    keys: NDArray[np.uint8]
    """(n, 32) SHA-256 of the texts"""


@dataclass(frozen=True)
class Candidate:
    """A head fitted on corrections."""

    head: LinearHead
    """at the model's temperature: its logits are the classifier's"""
    metric: Metric
    weights: Floats
    """(n,) number of rows that each correction counts as; 0 if the model is already confident"""
    system: System
    """the system it was solved on"""


class Base:
    """The model as trained, and the rows that its head can be refitted on."""

    def __init__(
        self, classifier: TextClassifier, rows: TrainingRows | None, settings: LearningSettings
    ) -> None:
        """Create the base; `rows` with other classes are ignored."""
        self.classes = [str(label) for label in classifier.classes_]
        if rows is not None and list(rows.classes) != self.classes:
            rows = None
        self.rule, self.positive, self.settings = classifier.rule_, classifier.positive_, settings
        self.head = head_of(classifier.predictor_.model)
        self.exact = rows is not None and rows.inverse_penalty is not None
        self.rows = rows if rows is None or self.exact else rows.with_held_out()
        self.class_weights = np.ones(len(self.classes)) if rows is None else rows.class_weights
        self.temperature = classifier.temperature_ if self.exact else 1.0
        channels = self.head.weight.shape[1]
        fit = np.zeros(0, dtype=bool) if self.rows is None else ~self.rows.held_out
        self.features = (
            np.empty((0, channels))
            if self.rows is None
            else self.rows.features[fit].astype(np.float64)
        )
        self.targets = np.empty(0, dtype=np.int64) if self.rows is None else self.rows.targets[fit]
        self.keys = np.empty((0, 32), dtype=np.uint8) if self.rows is None else self.rows.keys[fit]

    @property
    def inverse_penalty(self) -> float:
        """The inverse penalty in the form the solver expects."""
        if self.exact and self.rows is not None and self.rows.inverse_penalty is not None:
            return self.rows.inverse_penalty
        return self.settings.pull_alone if self.rows is None else self.settings.pull

    def probabilities(self, features: NDArray[Any], head: LinearHead | None = None) -> Floats:
        """Return the probabilities of the current head or of another one, (N, K)."""
        return softmax((head or self.head).logits(features))

    def refuses(self, corrections: CorrectionRows) -> str | None:
        """Return why these corrections do not count yet, or None if they do."""
        classes = len(self.classes)
        counts = np.bincount(self.targets, minlength=classes) + np.bincount(
            corrections.targets, minlength=classes
        )
        return too_few(counts, self.classes, self.settings)

    def candidate(
        self,
        corrections: CorrectionRows,
        *,
        emphasis: int | None = None,
        start: LinearHead | None = None,
        stop: Callable[[], bool] = never,
    ) -> Candidate:
        """Return the head for these corrections; it depends only on them (`start`: up to rounding).

        A correction of which the model is confident does not count, unless the other corrections
        make the model unsure of it. A correction whose verdict stays wrong counts double, up to
        `emphasis` rows. `stop` is called before each solve, also those of `held_out`; if it returns
        True, Interrupted is raised.
        """
        emphasis = emphasis or self.settings.emphasis
        head, metric = start or self.head, None
        counted = corrections.force | ~self._confident(corrections, self.head)
        weights = counted.astype(np.float64)
        system = System(self, corrections, stop)
        for _ in range(MOST_ROUNDS):
            head, metric = system.solve(weights, start=head, metric=metric)
            labels = self.rule.labels(self.probabilities(corrections.features, head), self.classes)
            louder = counted & (labels != corrections.targets) & (2 * weights <= emphasis)
            further = ~counted & ~self._confident(corrections, head)
            if not (louder | further).any():
                break
            weights = np.where(louder, 2 * weights, np.where(further, 1.0, weights))
            counted |= further
        assert metric is not None
        return Candidate(head, metric, weights, system)

    def _confident(self, corrections: CorrectionRows, head: LinearHead) -> NDArray[np.bool_]:
        return is_confident(
            self.probabilities(corrections.features, head),
            corrections.targets,
            self.rule,
            self.classes,
            self.settings.confident,
        )

    def held_out(self, candidate: Candidate) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the figures before and after on the same held-out rows; None if there are none.

        A training row that was corrected is still evaluated by its own label: a few such labels may
        have been wrong, but many at once indicate an attack.
        """
        if self.rows is None:
            return None
        if self.exact:
            if self._folds is None or self._out_of_fold is None:
                return None
            targets, before = self.rows.targets, self._out_of_fold
            after = candidate.system.out_of_fold(candidate, self._folds)
        else:
            targets, features = (
                self.rows.targets[self.rows.held_out],
                self.rows.features[self.rows.held_out],
            )
            before, after = self.head.logits(features), candidate.head.logits(features)
            if not len(targets):
                return None
        judged = [
            figures(softmax(logits), targets, self.rule, self.classes) for logits in (before, after)
        ]
        return judged[0], judged[1]

    @cached_property
    def _folds(self) -> NDArray[np.int64] | None:
        assert self.rows is not None
        return class_balanced_fold_ids(self.rows.targets, self.rows.groups)

    @cached_property
    def _out_of_fold(self) -> Floats | None:
        """Return out-of-fold logits of the training rows from heads without corrections, (N, K)."""
        if self._folds is None:
            return None
        nothing = no_corrections(self.head.weight.shape[1])
        system = System(self, nothing)
        head, metric = system.solve(np.empty(0))
        return system.out_of_fold(Candidate(head, metric, np.empty(0), system), self._folds)


class System:
    """The rows of one refit: training rows (weight 0 if a correction contradicts), corrections."""

    def __init__(
        self, base: Base, corrections: CorrectionRows, stop: Callable[[], bool] = never
    ) -> None:
        """Collect the rows; `stop` is called before each solve."""
        self.base, self.corrections, self._stop = base, corrections, stop
        classes = len(base.classes)
        self.features = np.concatenate([base.features, corrections.features])
        each = np.eye(classes)
        asked = each[base.targets] if base.exact else base.probabilities(base.features)
        self._asked = np.concatenate([asked, each[corrections.targets]])
        said = {
            key.tobytes(): target
            for key, target in zip(corrections.keys, corrections.targets.tolist(), strict=True)
        }
        rows = zip(base.keys, base.targets.tolist(), strict=True)
        self._kept = np.array(
            [said.get(key.tobytes(), target) == target for key, target in rows], dtype=np.float64
        )
        if base.exact:
            self._kept *= base.class_weights[base.targets]

    def solve(
        self,
        weights: Floats,
        *,
        start: LinearHead | None = None,
        metric: Metric | None = None,
        rows: NDArray[np.bool_] | None = None,
        tolerance: float | None = None,
    ) -> tuple[LinearHead, Metric]:
        """Return the optimum for corrections with weights (n,); `rows` restricts the training rows.

        Raises:
            Interrupted: `stop` returned True.
        """
        if self._stop():
            raise Interrupted
        base, taught, asked = self.base, self.corrections, self._asked
        classes, temperature = len(base.classes), base.temperature
        # Confident corrections are not learned. Without training rows they hold the head in place
        # instead.
        holding = (weights == 0) & (not base.exact)
        held = np.concatenate([base.targets, taught.targets[holding]])
        corrected = np.array([weights[taught.targets == k].sum() for k in range(classes)])
        shares = balance(
            np.bincount(held, minlength=classes).astype(np.float64),
            corrected,
            base.settings.max_shift,
        )
        own = np.where(
            holding, 1.0, weights * base.class_weights[taught.targets] * shares[taught.targets]
        )
        if holding.any():
            asked = asked.copy()
            asked[len(base.features) :][holding] = base.probabilities(taught.features[holding])
        counts = np.concatenate([self._kept if rows is None else self._kept * rows, own])
        options = {} if tolerance is None else {"tolerance": tolerance}
        anchor = None if base.exact else base.head
        solution = solve_again(
            Problem(self.features, asked, counts, base.inverse_penalty, anchor),
            start=(start or base.head).scaled(temperature),
            metric=metric,
            **options,
        )
        return solution.head.scaled(1 / temperature), solution.metric

    def out_of_fold(self, candidate: Candidate, folds: NDArray[np.int64]) -> Floats:
        """Return training row logits, (N, K), each from a head fitted without the row's fold."""
        logits = np.empty((len(folds), len(self.base.classes)))
        for fold in range(FOLDS):
            outside = folds == fold
            if outside.any():
                head, _ = self.solve(
                    candidate.weights,
                    start=candidate.head,
                    metric=candidate.metric,
                    rows=~outside,
                    tolerance=FOLD_TOLERANCE,
                )
                logits[outside] = head.logits(self.base.features[outside])
        return logits


def no_corrections(channels: int) -> CorrectionRows:
    """Return an empty set of corrections."""
    empty = np.empty(0, dtype=np.int64)
    return CorrectionRows(
        np.empty((0, channels)), empty, empty.astype(bool), np.empty((0, 32), dtype=np.uint8)
    )


def among(keys: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return whether each of (N, 32) keys is among the others, (N,)."""
    known = {key.tobytes() for key in others}
    return np.fromiter((key.tobytes() in known for key in keys), dtype=bool, count=len(keys))


def class_balanced_fold_ids(
    targets: NDArray[np.int64], groups: NDArray[np.int64], *, seed: int = 42
) -> NDArray[np.int64] | None:
    """Return the fold of every row, (N,): whole groups, classes spread evenly.

    Returns None if a class has only one group.
    """
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    class_of = targets[first]
    folds = np.empty(len(first), dtype=np.int64)
    for k in np.unique(targets):
        own = np.flatnonzero(class_of == k)
        if len(own) < 2:
            return None
        folds[np.random.default_rng(seed).permutation(own)] = np.arange(len(own)) % FOLDS
    return folds[number]
