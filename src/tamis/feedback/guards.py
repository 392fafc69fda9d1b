"""The settings of learning from corrections, and its guards: when corrections count, and how much.

Sources: rspamd (a minimum of learned messages per class, `already in class`, a balance between
classes) and SpamAssassin (`bayes_min_ham_num`). The check on held-out rows is tamis's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tamis.config import Section
from tamis.decision.verdict import DecisionRule

Floats = NDArray[np.float64]


class LearningSettings(Section):
    """How a served model learns from corrections."""

    min_per_class: Annotated[int, Field(ge=1)] = 5
    """minimum rows of every class, training rows plus corrections, before corrections count"""
    confident: Annotated[float, Field(gt=0.5, le=1)] = 0.95
    """a correction that agrees with the model at this probability or above is not learned, unless
    forced"""
    emphasis: Annotated[int, Field(ge=1)] = 8
    """most rows that a correction may count as; its weight is doubled until its verdict is right; 1
    disables this"""
    max_shift: Annotated[float, Field(ge=1)] = 4.0
    """largest factor by which corrections may change the ratio of two classes; weights beyond it
    are reduced"""
    max_fpr_increase: Annotated[float, Field(ge=0, le=1)] = 0.01
    """largest increase of the share of held-out negatives (ham) with a wrong verdict; otherwise the
    step is held back"""
    max_fnr_increase: Annotated[float, Field(ge=0, le=1)] = 0.02
    """largest increase of the share of held-out positives with a wrong verdict (more than two
    classes: mean over classes)"""
    pull: Annotated[float, Field(gt=0)] = 100.0
    """inverse strength of the penalty towards the current head if the trunk was trained and its
    training rows are stored"""
    pull_alone: Annotated[float, Field(gt=0)] = 1.0
    """the same if no training rows are stored, so that only the penalty holds the head"""


def too_few(
    counts: NDArray[np.int64], classes: Sequence[str], settings: LearningSettings
) -> str | None:
    """Return why corrections do not count yet, or None if they do.

    `counts`, (K,): rows of every class.
    """
    place = int(counts.argmin())
    if counts[place] >= settings.min_per_class:
        return None
    return (
        f"too few rows of {classes[place]!r}: {counts[place]}; corrections count from "
        f"{settings.min_per_class} on"
    )


def balance(base: Floats, corrected: Floats, max_shift: float) -> Floats:
    """Return a factor in [0, 1] for the corrections of every class, (K,).

    With these factors, no ratio of two classes changes by more than `max_shift`.

    Args:
        base: (K,) training rows of every class; a class without rows counts as one row.
        corrected: (K,) summed weights of the corrections of every class.
        max_shift: at least 1.
    """
    rows = np.maximum(base, 1.0)
    room = rows * max_shift * ((rows + corrected) / rows).min() - rows
    return np.where(corrected > room, room / np.maximum(corrected, 1e-12), 1.0)


def is_confident(
    probabilities: Floats,
    targets: NDArray[np.int64],
    rule: DecisionRule,
    classes: list[str],
    confident: float,
) -> NDArray[np.bool_]:
    """Return whether the model agrees with each correction, (n,): not unsure, and at the
    probability `confident` or above.

    `probabilities`: (n, K).
    """
    same = rule.labels(probabilities, classes) == targets
    return np.asarray(
        same
        & ~rule.unsure(probabilities, classes)
        & (probabilities[np.arange(len(targets)), targets] >= confident)
    )


def figures(
    probabilities: Floats, targets: NDArray[np.int64], rule: DecisionRule, classes: list[str]
) -> dict[str, Any]:
    """Return held-out figures at the stored threshold.

    `rows`, `loss` (nats), and `wrong` (share of each class's rows; classes without rows are left
    out).
    """
    labels = rule.labels(probabilities, classes)
    own = np.maximum(probabilities[np.arange(len(targets)), targets], 1e-300)
    return {
        "rows": {name: int((targets == k).sum()) for k, name in enumerate(classes)},
        "loss": float(-np.log(own).mean()),
        "wrong": {
            name: float((labels[targets == k] != k).mean())
            for k, name in enumerate(classes)
            if (targets == k).any()
        },
    }


def worse(
    before: dict[str, Any], after: dict[str, Any], positive: str | None, settings: LearningSettings
) -> str | None:
    """Return why a step is held back, or None; both figures are of the same rows.

    One more wrong row is always allowed.
    """
    if positive is None or len(before["wrong"]) != 2:
        old, new = (float(np.mean(list(part["wrong"].values()))) for part in (before, after))
        one_row = 1 / (len(before["wrong"]) * min(before["rows"][name] for name in before["wrong"]))
        allowed = max(settings.max_fnr_increase, one_row)
        if new <= old + allowed + 1e-12:
            return None
        return (
            "the error rate on held-out rows (mean over classes) would rise from "
            f"{_percent(old)} to {_percent(new)}; " + _most(allowed)
        )
    for name, old in before["wrong"].items():
        margin = settings.max_fnr_increase if name == positive else settings.max_fpr_increase
        allowed, new = max(margin, 1 / before["rows"][name]), after["wrong"][name]
        if new > old + allowed + 1e-12:
            rows = f"{before['rows'][name]:,} held-out {name!r} rows"
            return (
                f"the error rate on {rows} would rise from {_percent(old)} to "
                f"{_percent(new)}; {_most(allowed)}"
            )
    return None


def _most(allowed: float) -> str:
    return f"at most {100 * allowed:.2f} percentage points more are allowed"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
