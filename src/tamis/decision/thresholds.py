"""Choice of the threshold of the positive class.

The caller chooses the rows (out-of-fold or validation rows, never test rows). Sources:
scikit-learn's TunedThresholdClassifierCV (an objective under a constraint); Clopper & Pearson 1934
(exact bound).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Threshold:
    """A threshold and its effect on the rows it was chosen on: positive if score >= `value`.

    `rule` is how it was chosen; `false_positive_rate` is the share of negatives at or above it,
    `false_positive_rate_upper95` the upper 95 % bound of this share (Clopper-Pearson, one-sided);
    `resolved` is False if there are too few rows for the maximum false positive rate; `notes` are
    sentences for the user. `value` is above 1 if no row may be flagged.
    """

    value: float
    rule: str
    false_positive_rate: float
    false_positive_rate_upper95: float
    recall: float
    resolved: bool
    notes: list[str]


def choose_threshold(
    scores: NDArray[Any],
    is_positive: NDArray[Any],
    *,
    max_fpr: float | None,
    negative: str = "negative",
    level_rows: int = 0,
    level_share: float = 1.0,
    prior: float | None = None,
) -> Threshold:
    """The cut with the best F1, or the lowest one that keeps a budget of blocked negatives.

    Shapes and units (N = held-out rows; never test rows, never rows the scores were fitted on):
        scores       (N,) float64, P(positive) in [0, 1]
        is_positive  (N,) bool; both values must occur
        max_fpr  share of negatives that may be flagged, in [0, 1] (0.001 = 1 in 1,000); None: best
                 F1
        negative     the name of the negative class, for the notes
        level_rows   without a budget: cuts count as level with the best where this many further
                     positives missed would explain the difference; of them the one nearest to half
                     the best F1 is taken (in log-odds), which is where the optimum of calibrated
                     scores lies (Lipton et al. 2014). A few held-out rows place the strictly best
                     cut almost at random; 0 takes it all the same
        level_share  no more than this share of the positives that the best cut finds (rounded down)
                     is counted as level
        prior        share of positives among the rows to come, where it is not that of these rows;
                     only F1 depends on it

    Cuts lie midway between two neighbouring scores, never on a score (unless these are neighbouring
    floats). Of cuts with equal F1 the highest wins: fewest negatives flagged. A budget needs 1 /
    budget negatives to be shown at all; with fewer the cut flags none of them, `resolved` is False
    and a note gives the upper 95 % bound. The bound takes the cut as given; having chosen it on the
    same rows makes it a little too good.

    Raises:
        DataError: a class is absent, the lengths differ, or a score is outside [0, 1].
        ConfigError: `max_fpr` is outside [0, 1].
    """
    if max_fpr is not None and not 0 <= max_fpr <= 1:
        raise ConfigError(
            f"max_fpr: expected a fraction of the {negative} rows in [0, 1], got {max_fpr}"
        )
    scores, truth = checked_scores(scores, is_positive)
    values, flagged, found = all_cuts(scores, truth)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    blocked = flagged - found
    if max_fpr is None:
        odds = row_odds(prior, positives, negatives)
        f1 = 2 * found / (found + odds * blocked + positives)
        # Exact ties only: F1 is a ratio of small whole numbers, and equal ratios divide to equal
        # floats.
        best = int(np.argmax(f1))
        missed = min(level_rows, int(level_share * found[best]))
        if 0 < missed < found[best]:
            least = (
                2
                * (found[best] - missed)
                / (found[best] - missed + odds * blocked[best] + positives)
            )
            level = np.flatnonzero(f1 >= least)
            ideal = log_odds(np.array([f1[best] / 2]))
            best = int(level[np.argmin(np.abs(log_odds(np.minimum(values[level], 1.0)) - ideal))])
        return threshold_at(float(values[best]), scores, truth, rule="best F1")
    allowed = np.flatnonzero(
        blocked <= max_fpr * negatives + 1e-9
    )  # 0.1 * 30 is 3.0000000000000004
    best = int(allowed[-1])
    share, bound = blocked[best] / negatives, upper_bound(int(blocked[best]), negatives)
    notes = []
    resolved = max_fpr * negatives >= 1 - 1e-9
    if not resolved:
        notes.append(
            f"{negatives:,} {negative} rows are too few for max_fpr = {_percent(max_fpr)}: one "
            f"blocked row is already {_percent(1 / negatives)}. The threshold blocks none of them; "
            f"the true false positive rate can be up to {_percent(bound)} (upper 95 % bound)."
        )
    elif bound > max_fpr:
        notes.append(
            f"{_percent(share)} of {negatives:,} {negative} rows are blocked (max_fpr = "
            f"{_percent(max_fpr)}); the true false positive rate can be up to {_percent(bound)} "
            "(upper 95 % bound)."
        )
    if not flagged[best]:
        notes.append(
            f"The row with the highest score is a {negative} row, so with this max_fpr no row can "
            "be flagged: the recall is 0."
        )
    return threshold_at(
        float(values[best]),
        scores,
        truth,
        rule=f"at most {_percent(max_fpr)} blocked",
        resolved=resolved,
        notes=notes,
    )


def threshold_at(
    value: float,
    scores: NDArray[Any],
    is_positive: NDArray[Any],
    *,
    rule: str = "fixed",
    resolved: bool = True,
    notes: list[str] | None = None,
) -> Threshold:
    """Return the effect of the threshold `value` on these rows; shapes and errors as
    `choose_threshold`.
    """
    scores, truth = checked_scores(scores, is_positive)
    flagged = scores >= value
    blocked, negatives = int((flagged & ~truth).sum()), int((~truth).sum())
    return Threshold(
        value=value,
        rule=rule,
        false_positive_rate=blocked / negatives,
        false_positive_rate_upper95=upper_bound(blocked, negatives),
        recall=int((flagged & truth).sum()) / int(truth.sum()),
        resolved=resolved,
        notes=list(notes or []),
    )


def cost_threshold(
    scores: NDArray[Any], is_positive: NDArray[Any], *, blocked: float, missed: float
) -> Threshold:
    """Return the threshold with the lowest expected cost, blocked / (blocked + missed), for
    calibrated probabilities.

    Flagging a row costs (1 - p) * blocked on average, not flagging it p * missed; both are equal at
    the threshold. `blocked` and `missed` are costs in the same unit, above 0. The rows only show
    the effect of the threshold. Shapes and errors as `choose_threshold`.

    Source: Elkan 2001, "The foundations of cost-sensitive learning".
    """
    return threshold_at(
        blocked / (blocked + missed),
        scores,
        is_positive,
        rule=f"least expected cost (blocked {blocked:g}, missed {missed:g})",
    )


def upper_bound(k: int, n: int) -> float:
    """Return the one-sided upper 95 % bound of a proportion, k of n rows (Clopper-Pearson:
    conservative).
    """
    from scipy.stats import beta

    return 1.0 if k == n else float(beta.ppf(0.95, k + 1, n - k))


def row_odds(prior: float | None, positives: int, negatives: int) -> float:
    """Return the weight of a negative row beside a positive one's 1, for rows to come of which the
    share `prior` is positive.
    """
    return 1.0 if prior is None else (1 - prior) / prior * positives / negatives


def all_cuts(scores: Floats, truth: Bools) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Return all cuts that differ, from flagging nothing down to flagging all: value, rows flagged,
    positives flagged, (C,) each.
    """
    distinct = np.unique(scores)
    descending = distinct[::-1]
    values = [above(descending[0])]
    values += [midway(low, high) for high, low in pairwise(descending.tolist())]
    values.append(float(descending[-1]) / 2)
    index = len(distinct) - 1 - np.searchsorted(distinct, scores)
    flagged = np.concatenate([[0], np.cumsum(np.bincount(index, minlength=len(distinct)))])
    found = np.concatenate([[0], np.cumsum(np.bincount(index[truth], minlength=len(distinct)))])
    return np.array(values), flagged.astype(np.int64), found.astype(np.int64)


def midway(low: float, high: float) -> float:
    """Midway; between neighbouring floats the upper one, which cuts the same rows under `>=`."""
    middle = float(low + (high - low) / 2)
    return middle if low < middle < high else float(high)


def above(score: float) -> float:
    """A cut above the highest score: midway to 1, or just above 1."""
    return float(np.nextafter(1.0, 2.0)) if score >= 1 else midway(score, 1.0)


def log_odds(scores: Floats) -> Floats:
    """Return log(p / (1 - p)), finite for all p in [0, 1]."""
    # Scores of exactly 0 and 1 have no finite log-odds; 1e-300 and 1 - 2^-53 are as far out as
    # float64 can say.
    odds: Floats = np.log(np.maximum(scores, 1e-300)) - np.log(np.maximum(1 - scores, 2.0**-53))
    return odds


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def checked_scores(
    scores: NDArray[Any], flags: NDArray[Any], *, both: bool = True
) -> tuple[Floats, Bools]:
    """Return scores and flags of N rows as arrays.

    Raises:
        DataError: as `choose_threshold`; with `both`, also if one class is absent.
    """
    scores, flags = np.asarray(scores, dtype=np.float64), np.asarray(flags, dtype=bool)
    if scores.ndim != 1 or scores.shape != flags.shape or len(scores) == 0:
        raise DataError(
            f"expected scores and labels of shape (N,), N >= 1, got {scores.shape}, {flags.shape}"
        )
    outside = ~((scores >= 0) & (scores <= 1))  # also true for NaN
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise DataError(
            f"row {row}: expected a probability in [0, 1], got {scores[row]}; check the output of "
            "the model"
        )
    if both and (flags.all() or not flags.any()):
        kind = "positive" if flags.all() else "negative"
        raise DataError(
            f"a threshold needs positive and negative rows, but all {len(flags)} rows are {kind}; "
            "use rows of both classes"
        )
    return scores, flags
