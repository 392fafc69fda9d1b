"""Choice of the scores with the verdict unsure: a band around the threshold of two classes, or a
lowest confidence for more.

The caller chooses the rows, as for the threshold (thresholds.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.decision.thresholds import above, checked_scores, midway
from tamis.errors import ConfigError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
MARGIN = 1e-5
"""How far a band reaches beyond the scores at its ends. Other engines and batches give the score of
such a row up to about 1e-6 differently, and it is to stay unsure."""


@dataclass(frozen=True)
class RejectBand:
    """Scores with the verdict unsure: low <= score <= high.

    `share` of the rows is inside, with `errors_inside` of the errors; `error_rate_outside` is the
    share of errors among the rows outside (None if there are none).
    """

    low: float
    high: float
    share: float
    errors_inside: int
    error_rate_outside: float | None


@dataclass(frozen=True)
class ConfidenceFloor:
    """For K classes: unsure if the highest probability is below `value`; the other fields as in
    `RejectBand`.
    """

    value: float
    share: float
    errors_inside: int
    error_rate_outside: float | None


def reject_band(
    scores: NDArray[Any], is_positive: NDArray[Any], threshold: float, *, share: float = 0.02
) -> RejectBand | None:
    """Return the band that contains the `share` of these held-out rows whose verdicts are most
    likely wrong.

    A row at or above the threshold is wrong with probability 1 - score, one below it with
    probability score (for calibrated scores). Shapes as in `choose_threshold`; one class alone is
    enough. The band contains the threshold and ends just beyond scores (or the threshold), see
    `MARGIN`; rows with the score of an end may make it contain a few more rows. None if share = 0.
    A threshold above 1 counts as 1.

    Source: Chow 1970, "On optimum recognition error and reject tradeoff".

    Raises:
        DataError: different lengths, no rows, or a score outside [0, 1].
        ConfigError: `share` is outside [0, 1].
    """
    wanted = _checked_share(share)
    scores, truth = checked_scores(scores, is_positive, both=False)
    if wanted == 0:
        return None
    rows = min(len(scores), int(np.ceil(wanted * len(scores) - 1e-9)))
    cut = min(max(threshold, 0.0), 1.0)
    doubt = np.where(scores >= threshold, 1 - scores, scores)
    doubted = scores[doubt >= np.sort(doubt)[-rows]]
    low, high = min(float(doubted.min()), cut), max(float(doubted.max()), cut)
    inside = (scores >= low) & (scores <= high)
    low, high = _widened(low, high, scores)
    return RejectBand(low, high, *_inside_and_outside(inside, (scores >= threshold) != truth))


def confidence_floor(
    probabilities: NDArray[Any], correct: NDArray[Any], share: float = 0.02
) -> ConfidenceFloor | None:
    """Return the highest probability below which `share` of these held-out rows lies: the rule for
    unsure for K classes.

    `probabilities` (N, K), `correct` (N,) bool. The floor is midway between two neighbouring
    values; equal values may make it contain a few more rows. None if share = 0.

    Raises:
        DataError: different lengths or no rows.
        ConfigError: `share` is outside [0, 1].
    """
    wanted = _checked_share(share)
    top, right = checked_scores(
        np.asarray(probabilities, dtype=np.float64).max(axis=1), correct, both=False
    )
    if wanted == 0:
        return None
    rows = min(len(top), int(np.ceil(wanted * len(top) - 1e-9)))
    values = np.unique(top)
    last = int(np.searchsorted(values, np.sort(top)[rows - 1]))
    value = (
        midway(values[last], values[last + 1]) if last + 1 < len(values) else above(values[last])
    )
    return ConfidenceFloor(value, *_inside_and_outside(top < value, ~right))


def cost_reject_band(
    scores: NDArray[Any],
    is_positive: NDArray[Any],
    threshold: float,
    *,
    blocked: float,
    missed: float,
    unsure: float,
) -> RejectBand | None:
    """Return the band in which asking costs less than either verdict: p * missed >= unsure and (1 -
    p) * blocked >= unsure.

    `unsure` is the cost of asking, in the same unit; None if it is never lower. Otherwise as
    `reject_band`.
    """
    scores, truth = checked_scores(scores, is_positive, both=False)
    low, high = unsure / missed, 1 - unsure / blocked
    if low > high:
        return None
    return RejectBand(
        low,
        high,
        *_inside_and_outside((scores >= low) & (scores <= high), (scores >= threshold) != truth),
    )


def _widened(low: float, high: float, scores: Floats) -> tuple[float, float]:
    """Move the ends outwards by `MARGIN`, at most half of the way to the next scores and to 0 and
    1.
    """
    below, beyond = scores[scores < low].max(initial=0.0), scores[scores > high].min(initial=1.0)
    lower, upper = low - (low - below) / 2, high + (beyond - high) / 2
    lower = lower if lower > below else low  # neighbouring floats
    upper = upper if upper < beyond else high
    return float(max(low - MARGIN, lower)), float(min(high + MARGIN, upper))


def _inside_and_outside(inside: Bools, wrong: Bools) -> tuple[float, int, float | None]:
    outside = int((~inside).sum())
    return (
        float(inside.mean()),
        int((inside & wrong).sum()),
        int((~inside & wrong).sum()) / outside if outside else None,
    )


def _checked_share(share: float) -> float:
    if not 0 <= share <= 1:
        raise ConfigError(f"abstain_rate: expected a fraction in [0, 1], got {share}")
    return share
