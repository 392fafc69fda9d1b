"""Compare two classifiers on the same rows: McNemar's test on their errors, and the bootstrap
interval of the difference of every metric.

Both classifiers use the same bootstrap draws, so that variation common to both cancels. Shapes: N
rows, K classes. Sources: McNemar 1947; Holm 1979, "A simple sequentially rejective multiple test
procedure".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.evaluation.bootstrap import Rows, resampled, weighted_figures
from tamis.evaluation.metrics import METRICS, mcnemar

RESAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """A metric of two classifiers on the same rows; None where it is not defined."""

    first: float | None
    second: float | None
    difference: float | None
    """second minus first"""
    ci95: tuple[float, float] | None
    """95 % bootstrap interval of the difference, rows resampled within each class"""


@dataclass(frozen=True)
class Comparison:
    """A second classifier beside a first one, on the same rows."""

    first_only_wrong: int
    """rows on which only the first one is wrong"""
    second_only_wrong: int
    p_value: float
    """of McNemar's exact test, two-sided"""
    metrics: dict[str, Difference]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def compare(first: Rows, second: Rows, *, resamples: int = RESAMPLES, seed: int = 42) -> Comparison:
    """Compare the predictions of two classifiers on the same N rows.

    Args:
        first: labels, predictions and probabilities of the first classifier.
        second: those of the second one; the labels and the positive class must be the same.
        resamples: number of bootstrap samples.
        seed: of the bootstrap.

    Raises:
        DataError: there are no rows, or the labels or the positive class differ.
    """
    if not len(first.labels) or not np.array_equal(first.labels, second.labels):
        raise DataError("a comparison needs at least one row, and the same labels for both models")
    if first.positive != second.positive:
        raise DataError("a comparison needs the same positive class for both models")
    test = mcnemar(first.predicted == first.labels, second.predicted == second.labels)
    ones = np.ones((1, len(first.labels)))
    points = [weighted_figures(rows, ones) for rows in (first, second)]
    draws = [resampled(rows, resamples, seed) for rows in (first, second)]
    metrics = {name: _difference(*(found[name] for found in (*points, *draws))) for name in METRICS}
    return Comparison(test["model_only_wrong"], test["other_only_wrong"], test["p_value"], metrics)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for so many tests (Holm), in the same order."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return [float(value) for value in adjusted]


def _difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    first_draws: NDArray[np.float64],
    second_draws: NDArray[np.float64],
) -> Difference:
    before, after = float(first[0]), float(second[0])
    drawn = second_draws - first_draws
    drawn = drawn[np.isfinite(drawn)]
    change = after - before
    if not np.isfinite(change) or not len(drawn):
        return Difference(_finite(before), _finite(after), _finite(change), None)
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return Difference(before, after, change, (low, high))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
