"""The training rows of a hyperparameter search, and the metric that compares its trials on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.data.deduplication import near_repeat_groups
from tamis.data.labels import class_order
from tamis.data.splits import hold_out, positive_label
from tamis.decision.macro_f1 import macro_f1_threshold
from tamis.errors import DataError
from tamis.evaluation.model_selection import Scores, Selection, validate
from tamis.evaluation.paired_comparison import (
    PairedDifference,
    average_precision,
    paired_difference,
    paired_macro_f1,
)
from tamis.training.resolve import resolve_scoring
from tamis.workflows.dataset import Dataset

HELD_OUT, FEWEST = 0.2, 2
"""Fraction of the training rows that is held out, and minimum number of rows of each class in each
half of it."""

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TrialScores:
    """Probabilities (rows, K) of one trial."""

    choosing: Floats
    confirming: Floats


@dataclass(frozen=True)
class SearchSplit:
    """The training rows of a search, as row numbers into `texts`: `fit` trains, `choosing` selects
    the best trial, `confirming` measures the improvement.
    """

    texts: list[str]
    labels: list[str]
    groups: Rows
    fit: Rows
    choosing: Rows
    confirming: Rows
    positive: str | None
    macro_f1: bool = False
    """whether trials are compared by macro F1, as `decision.scoring` does; else by average
    precision"""

    @property
    def metric(self) -> str:
        """Name of the metric that compares trials."""
        return "f1_macro" if self.macro_f1 else "average_precision"

    def merit(self, rows: Rows, probabilities: Floats) -> float:
        """Return the value of the metric.

        Average precision is that of the positive class, or the mean over all classes, each against
        the others. The macro F1 of two classes has the best threshold on these rows.
        """
        labels = self._labels(rows)
        if not self.macro_f1:
            return average_precision(labels, probabilities, class_order(self.labels), self.positive)
        logits = torch.from_numpy(np.log(np.clip(probabilities, 1e-300, None)))
        found = validate(logits, torch.from_numpy(self._targets(rows)), Selection(macro_f1=True))
        return found.macro_f1 or 0.0

    def of_epoch(self, scores: Scores) -> float | None:
        """Return the metric in the middle of a training; None where it is undefined."""
        return scores.macro_f1 if self.macro_f1 else scores.average_precision

    def gain(self, before: TrialScores, after: TrialScores, *, seed: int) -> PairedDifference:
        """Compare two trials on the confirming rows. For macro F1, each has the threshold that is
        best on the choosing rows.
        """
        labels, classes = self._labels(self.confirming), class_order(self.labels)
        if self.macro_f1:
            first, second = self._predicted(before), self._predicted(after)
            return paired_macro_f1(labels, first, second, classes, seed=seed)
        return paired_difference(
            labels, before.confirming, after.confirming, classes, self.positive, seed=seed
        )

    def _predicted(self, scores: TrialScores) -> list[str]:
        classes = class_order(self.labels)
        if len(classes) > 2:
            return [classes[place] for place in scores.confirming.argmax(1).tolist()]
        is_second = self._targets(self.choosing) == 1
        threshold = macro_f1_threshold(scores.choosing[:, 1], is_second).value
        return [classes[int(p >= threshold)] for p in scores.confirming[:, 1].tolist()]

    def _labels(self, rows: Rows) -> list[str]:
        return [self.labels[row] for row in rows.tolist()]

    def _targets(self, rows: Rows) -> Rows:
        place = {name: number for number, name in enumerate(class_order(self.labels))}
        return np.array([place[label] for label in self._labels(rows)], dtype=np.int64)


def search_split(dataset: Dataset, recipe: Recipe) -> SearchSplit:
    """Split the training part.

    Raises:
        DataError: there are too few rows to hold some out.
    """
    texts, labels = dataset.split.texts("train"), dataset.split.labels("train")
    groups = near_repeat_groups(texts)
    held = hold_out(labels, groups, HELD_OUT, seed=recipe.seed)
    confirming = held[
        hold_out([labels[row] for row in held.tolist()], groups[held], 0.5, seed=recipe.seed + 1)
    ]
    choosing = np.setdiff1d(held, confirming)
    for half in (choosing, confirming):
        if min(_counts(labels, half)) < FEWEST:
            raise DataError(
                f"{dataset.name}: {len(texts):,} training rows are too few for a search; each "
                f"class needs at least {round(2 * FEWEST / HELD_OUT)} rows that are not "
                "near-duplicates. Add rows, or use the default recipe: tamis train DATA"
            )
    positive = positive_label(labels, recipe.data.positive) if len(set(labels)) == 2 else None
    return SearchSplit(
        texts,
        labels,
        groups,
        np.setdiff1d(np.arange(len(texts)), held),
        choosing,
        confirming,
        positive,
        resolve_scoring(recipe, positive) == "f1_macro",
    )


def _counts(labels: Sequence[str], rows: Rows) -> list[int]:
    """Number of these rows in each class."""
    return [sum(labels[row] == name for row in rows.tolist()) for name in sorted(set(labels))]
