"""From held-out scores to a decision rule: temperature, threshold, unsure band. Never from test rows, never from fitted rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import ConfigError
from tamis.evaluation.calibration import Calibration, calibrate, softmax
from tamis.evaluation.thresholds import Band, Floor, Threshold, choose_threshold, unsure_band, unsure_floor
from tamis.verdicts import Rule

LEVEL_ROWS = 1
"""Thresholds whose F1 differs by one row on the held-out rows are level: the one nearest to the theoretical optimum is taken."""


@dataclass(frozen=True)
class Decision:
    """The rule, and how it was found."""

    rule: Rule
    temperature: float
    probabilities: NDArray[np.float64]
    """(H, K) of the held-out rows, at that temperature."""
    calibration: Calibration | None = None
    threshold: Threshold | None = None
    unsure: Band | Floor | None = None
    notes: list[str] = field(default_factory=list)


def decide(
    logits: NDArray[np.float64],
    targets: NDArray[np.int64],
    classes: list[str],
    *,
    positive: str | None,
    max_blocked: float | None,
    unsure_share: float,
) -> Decision:
    """Settle temperature, threshold and unsure band.

    Args:
        logits: (H, K) of held-out rows.
        targets: (H,) their class numbers.
        classes: K labels.
        positive: the label the threshold is about; None for more than two classes.
        max_blocked: budget of blocked negatives.
        unsure_share: share of rows whose verdict is to be `unsure`.

    Raises:
        ConfigError: a budget for more than two classes.
    """
    if positive is None and max_blocked is not None:
        raise ConfigError(f"verdict.max_blocked needs two classes; the data have {len(classes)}")
    place = None if positive is None else classes.index(positive)
    counts = np.bincount(targets, minlength=len(classes))
    if len(targets) == 0 or (place is not None and (counts == 0).any()):
        notes = [
            "There are no held-out rows of every class, so nothing could be chosen on them: the threshold is 0.5, "
            "probabilities are not calibrated and no verdict is unsure."
        ]
        rule = Rule(positive=positive, threshold=None if place is None else 0.5)
        return Decision(rule, 1.0, softmax(logits) if len(targets) else logits, notes=notes)
    calibration = calibrate(logits, targets)
    probabilities = softmax(logits / calibration.temperature)
    if place is None:
        right = probabilities.argmax(1) == targets
        floor = unsure_floor(probabilities, right, unsure_share)
        rule = Rule(floor=None if floor is None else floor.value)
        return Decision(rule, calibration.temperature, probabilities, calibration, None, floor, list(calibration.notes))
    scores, truth = probabilities[:, place], targets == place
    threshold = choose_threshold(scores, truth, max_blocked=max_blocked, negative=classes[1 - place], level_rows=LEVEL_ROWS)
    band = unsure_band(scores, truth, threshold.value, share=unsure_share)
    ends: dict[str, Any] = {} if band is None else {"low": band.low, "high": band.high}
    rule = Rule(positive=positive, threshold=threshold.value, **ends)
    notes = [*calibration.notes, *threshold.notes]
    return Decision(rule, calibration.temperature, probabilities, calibration, threshold, band, notes)
