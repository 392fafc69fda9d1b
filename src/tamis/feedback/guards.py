"""When corrections count, and how much: the settings of learning and the guards, as mail filters
have them.

Sources: rspamd (a minimum of learns a class, `already in class`, a balance between classes),
SpamAssassin (`bayes_min_ham_num`); the check on held-out rows is this project's.
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
    """rows of every class, training rows and corrections together, before corrections count"""
    confident: Annotated[float, Field(gt=0.5, le=1)] = 0.95
    """a correction that says what the model says already, at this probability, is not learnt unless
    forced"""
    emphasis: Annotated[int, Field(ge=1)] = 8
    """rows that a correction may count for where counting once leaves its verdict wrong; doubled
    until it is right, 1 for never"""
    max_shift: Annotated[float, Field(ge=1)] = 4.0
    """factor by which corrections may change the ratio between two classes; what is beyond it
    counts less"""
    max_fpr_increase: Annotated[float, Field(ge=0, le=1)] = 0.01
    """further share of held-out negatives (ham) that may be judged wrong; a step beyond it is held
    back"""
    max_fnr_increase: Annotated[float, Field(ge=0, le=1)] = 0.02
    """further share of held-out positives (more than two classes: the mean over classes) that may
    be judged wrong"""
    pull: Annotated[float, Field(gt=0)] = 100.0
    """inverse strength of the pull towards the present head where the trunk was trained and its
    rows are kept"""
    pull_alone: Annotated[float, Field(gt=0)] = 1.0
    """the same where no training rows are kept and nothing but the pull holds the head"""


def too_few(
    counts: NDArray[np.int64], classes: Sequence[str], settings: LearningSettings
) -> str | None:
    """Why corrections do not count yet; None where they do. `counts` (K,): rows of every class."""
    place = int(counts.argmin())
    if counts[place] >= settings.min_per_class:
        return None
    return (
        f"too few rows of {classes[place]!r}: {counts[place]} of {settings.min_per_class}; "
        "corrections count from there on"
    )


def balance(base: Floats, corrected: Floats, max_shift: float) -> Floats:
    """(K,) factor in [0, 1] on the corrections of every class, so that no ratio of two classes
    changes by more than `max_shift`.

    Args:
        base: (K,) training rows of every class; a class without any counts as one row.
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
    """(n,) whether the model says the same as each correction, not unsure and at that probability;
    `probabilities` (n, K).
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
    """Held-out figures at the stored threshold: `rows`, `loss` (nats), `wrong` (share of each
    class's rows; of those that occur).
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
    """Why a step is held back, from figures on the same rows; None where it is not. One row more is
    always allowed.
    """
    if positive is None or len(before["wrong"]) != 2:
        old, new = (float(np.mean(list(part["wrong"].values()))) for part in (before, after))
        one_row = 1 / (len(before["wrong"]) * min(before["rows"][name] for name in before["wrong"]))
        allowed = max(settings.max_fnr_increase, one_row)
        if new <= old + allowed + 1e-12:
            return None
        return (
            f"held back: of the held-out rows {_percent(new)} (mean over classes) would be "
            f"wrong, now {_percent(old)}; " + _most(allowed)
        )
    for name, old in before["wrong"].items():
        margin = settings.max_fnr_increase if name == positive else settings.max_fpr_increase
        allowed, new = max(margin, 1 / before["rows"][name]), after["wrong"][name]
        if new > old + allowed + 1e-12:
            rows = f"{before['rows'][name]:,} held-out {name!r} rows"
            return (
                f"held back: of {rows} {_percent(new)} would be judged wrong, now "
                f"{_percent(old)}; {_most(allowed)}"
            )
    return None


def _most(allowed: float) -> str:
    return f"at most {100 * allowed:.2f} points more are allowed"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
