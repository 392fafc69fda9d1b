"""The threshold with the best macro F1, the mean of the F1 of both classes: for two classes of
equal worth.

The F1 of one class ignores the true negatives, so the threshold that maximizes it flags many rows
of the other class where that is worth as much. Sources: Narasimhan et al. 2014, "On the statistical
consistency of plug-in classifiers for non-decomposable performance measures" (such metrics are
maximized by a threshold on calibrated scores); Lipton et al. 2014 for the F1 of one class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.decision.thresholds import (
    Threshold,
    all_cuts,
    checked_scores,
    log_odds,
    row_odds,
    threshold_at,
)

Floats = NDArray[np.float64]


def macro_f1_of(found: NDArray[Any], blocked: NDArray[Any], rows: tuple[int, float]) -> Floats:
    """Return the mean of both classes' F1 for counts of true and false positives, (C,) each.

    Args:
        found: true positives.
        blocked: false positives, in the same unit as `rows`.
        rows: number of positive and of negative rows, both above 0.
    """
    positives, negatives = rows
    wrong = blocked + (positives - found)
    quiet = negatives - blocked
    both = 2 * found / (2 * found + wrong) + 2 * quiet / (2 * quiet + wrong)
    return np.asarray(both / 2, dtype=np.float64)


def best_macro_f1(scores: NDArray[Any], is_positive: NDArray[Any]) -> float:
    """Return the macro F1 of the best cut; shapes and errors as `choose_threshold`."""
    scores, truth = checked_scores(scores, is_positive)
    _, flagged, found = all_cuts(scores, truth)
    rows = (int(truth.sum()), float((~truth).sum()))
    return float(macro_f1_of(found, flagged - found, rows).max())


def macro_f1_threshold(
    scores: NDArray[Any],
    is_positive: NDArray[Any],
    *,
    level_rows: int = 0,
    level_share: float = 1.0,
    prior: float | None = None,
) -> Threshold:
    """Return the cut with the best macro F1; of equal ones the highest.

    As in `choose_threshold`, cuts are level with the best where `level_rows` further positives
    missed would explain the difference (at most the share `level_share` of those found). Of level
    cuts the one nearest to the optimum of calibrated scores is taken, in log-odds. With the best
    cut's F1 of the positives F, that of the negatives G, and A and B rows flagged or positive, and
    not flagged or negative (counted twice where both), flagging one more row of probability p
    changes the sum of both by (2 p - F) / A - (2 (1 - p) - G) / B; this is 0 at
    p = (F B + (2 - G) A) / (2 (A + B)). Where the classes are level it is near 1/2; where positives
    are few, near the F / 2 of their F1 alone.

    Raises:
        DataError: as `choose_threshold`.
    """
    scores, truth = checked_scores(scores, is_positive)
    values, flagged, found = all_cuts(scores, truth)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    odds = row_odds(prior, positives, negatives)
    blocked, rows = odds * (flagged - found), (positives, odds * negatives)
    macro = macro_f1_of(found, blocked, rows)
    best = int(np.argmax(macro))
    missed = min(level_rows, int(level_share * found[best]))
    if 0 < missed < found[best]:
        least = macro_f1_of(found[best] - missed, blocked[best], rows)
        level = np.flatnonzero(macro >= least)
        ideal = log_odds(np.array([_optimum(found[best], blocked[best], rows)]))
        best = int(level[np.argmin(np.abs(log_odds(np.minimum(values[level], 1.0)) - ideal))])
    return threshold_at(float(values[best]), scores, truth, rule="best macro F1")


def _optimum(found: float, blocked: float, rows: tuple[int, float]) -> float:
    """The probability at which one more flagged row leaves the macro F1 as it is."""
    positives, negatives = rows
    flagged = found + blocked
    above, below = flagged + positives, positives + negatives - flagged + negatives
    f1, other = 2 * found / above, 2 * (negatives - blocked) / below
    return float((f1 * below + (2 - other) * above) / (2 * (above + below)))
