"""Compare average precision or macro F1 of two models on the same rows, with an interval.

Both models use the same bootstrap draws, so that variation common to both cancels. Shapes: N rows,
K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.evaluation.bootstrap import Rows, resampled, weighted_figures

Floats = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class PairedDifference:
    """A metric before and after, and the 95 % bootstrap interval of the difference (rows resampled
    within each class).
    """

    before: float
    after: float
    difference: float
    ci95: tuple[float, float]


def average_precision(
    labels: Sequence[str], probabilities: Floats, classes: Sequence[str], positive: str | None
) -> float:
    """Average precision of `positive`; if that is None, the mean over classes, each against the
    others. `probabilities` (N, K) are in the order of `classes`.
    """
    rows = _rows(labels, probabilities, classes, positive)
    return float(weighted_figures(rows, np.ones((1, len(labels))))["average_precision"][0])


def paired_difference(
    labels: Sequence[str],
    before: Floats,
    after: Floats,
    classes: Sequence[str],
    positive: str | None,
    *,
    seed: int = 42,
) -> PairedDifference:
    """Compare the average precision of two arrays of probabilities (N, K) on the same N rows."""
    rows = [_rows(labels, one, classes, positive) for one in (before, after)]
    return _compared("average_precision", rows, seed)


def paired_macro_f1(
    labels: Sequence[str],
    before: Sequence[str],
    after: Sequence[str],
    classes: Sequence[str],
    *,
    seed: int = 42,
) -> PairedDifference:
    """Compare the macro F1 of two lists of N predicted labels on the same N rows."""
    place = {name: number for number, name in enumerate(classes)}
    certain = [np.eye(len(classes))[[place[name] for name in one]] for one in (before, after)]
    return _compared("f1", [_rows(labels, one, classes, None) for one in certain], seed)


def _compared(metric: str, rows: Sequence[Rows], seed: int) -> PairedDifference:
    whole = [float(weighted_figures(one, np.ones((1, len(one.labels))))[metric][0]) for one in rows]
    draws = [resampled(one, RESAMPLES, seed)[metric] for one in rows]
    low, high = np.nanquantile(draws[1] - draws[0], [0.025, 0.975]).tolist()
    return PairedDifference(whole[0], whole[1], whole[1] - whole[0], (low, high))


def _rows(
    labels: Sequence[str], probabilities: Floats, classes: Sequence[str], positive: str | None
) -> Rows:
    place = {name: number for number, name in enumerate(classes)}
    truth = np.array([place[label] for label in labels], dtype=np.int64)
    return Rows(
        truth, probabilities.argmax(1), probabilities, None if positive is None else place[positive]
    )
