"""Fit a decision rule on held-out scores: temperature, threshold and unsure band. Test rows and
fitted rows are never used.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.config import DecisionSettings
from tamis.decision.calibration import Calibration, calibrate, softmax
from tamis.decision.macro_f1 import macro_f1_threshold
from tamis.decision.prior import prior_shift
from tamis.decision.reject_band import (
    ConfidenceFloor,
    RejectBand,
    confidence_floor,
    cost_reject_band,
    reject_band,
)
from tamis.decision.thresholds import Threshold, choose_threshold, cost_threshold
from tamis.decision.verdict import DecisionRule
from tamis.errors import ConfigError

LEVEL_ROWS, LEVEL_SHARE = 3, 0.25
"""Thresholds whose F1 or macro F1 differs by so many held-out rows, or this share of the positives
found if that is less, are level: the one nearest to the theoretical optimum is taken. Three rows
are about a standard error of the mistakes of a usual held-out part."""


@dataclass(frozen=True)
class Decision:
    """A decision rule, and how it was found."""

    rule: DecisionRule
    temperature: float
    probabilities: NDArray[np.float64]
    """(H, K) of the held-out rows, at that temperature and shift."""
    shift: NDArray[np.float64]
    """(K,) added to logits that were divided by the temperature: the calibration's bias, what the
    stated prior changes, and weights kept"""
    calibration: Calibration | None = None
    threshold: Threshold | None = None
    unsure: RejectBand | ConfidenceFloor | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class HeldOutScores:
    """Calibrated scores of H held-out rows: what a decision rule can be chosen on again without
    training. No texts are stored.
    """

    scores: NDArray[np.float64]
    """(H,) two classes: P(last class); more: the highest probability"""
    truth: NDArray[np.bool_]
    """(H,) two classes: whether the row is of the last class; more: whether the most probable class
    is right"""

    @classmethod
    def of(cls, probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> HeldOutScores:
        """Return the scores of (H, K) probabilities and (H,) class numbers."""
        if probabilities.shape[1] == 2:
            return cls(probabilities[:, 1], targets == 1)
        return cls(probabilities.max(1), probabilities.argmax(1) == targets)

    def of_class(self, place: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the (H,) probabilities of one of two classes, and whether each row is of it."""
        return (self.scores, self.truth) if place == 1 else (1.0 - self.scores, ~self.truth)

    def to_dict(self) -> dict[str, Any]:
        """Return the scores for a JSON file, as base64 of little-endian float64 and of bits."""
        packed = np.packbits(self.truth).tobytes()
        scores = base64.b64encode(self.scores.astype("<f8").tobytes()).decode()
        return {"scores": scores, "truth": base64.b64encode(packed).decode()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeldOutScores:
        """Read what `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: the values are damaged.
        """
        scores = np.frombuffer(base64.b64decode(values["scores"], validate=True), dtype="<f8")
        bits = np.frombuffer(base64.b64decode(values["truth"], validate=True), dtype=np.uint8)
        truth = np.unpackbits(bits, count=len(scores)).astype(bool)
        if len(bits) != (len(scores) + 7) // 8 or not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("held-out scores and labels do not match")
        return cls(scores.astype(np.float64), truth)


@dataclass(frozen=True)
class ChosenRule:
    """A decision rule, and how it was chosen."""

    rule: DecisionRule
    threshold: Threshold | None
    unsure: RejectBand | ConfidenceFloor | None
    notes: list[str]


@dataclass(frozen=True)
class HeldOut:
    """H rows scored by models that were trained without them."""

    logits: NDArray[np.float64]
    """(H, K)"""
    targets: NDArray[np.int64]
    """(H,) class numbers"""
    classes: Sequence[str]
    """K labels"""
    positive: str | None
    """Label of the positive class; None for more than two classes."""


def fit_decision_rule(
    held_out: HeldOut,
    settings: DecisionSettings,
    *,
    uncorrected: NDArray[np.float64] | None = None,
    weighted: bool = False,
) -> Decision:
    """Fit temperature, prior, threshold and unsure band.

    Args:
        held_out: H rows with their scores.
        settings: maximum false positive rate, costs, prior and share of unsure verdicts.
        uncorrected: (K,) what `log_prior_correction` added to the logits. Without held-out rows the
            threshold is 0.5 on the scores before this correction.
        weighted: more than two classes only: the class weights are to be kept
            (`keeps_class_weights`). The correction is then undone after the temperature was fitted,
            so the most probable class is that of the weighted classes.

    Raises:
        ConfigError: a maximum false positive rate, costs or a prior for more than two classes; both
            a maximum false positive rate and costs.
    """
    logits, targets = held_out.logits, held_out.targets
    classes, positive = list(held_out.classes), held_out.positive
    check_decision_settings(settings, len(classes))
    place = None if positive is None else classes.index(positive)
    counts = np.bincount(targets, minlength=len(classes))
    none = np.zeros(len(classes))
    undone = none if uncorrected is None else uncorrected
    taken_back = -undone if weighted and place is None else none
    stated = settings.prior if isinstance(settings.prior, float) else None
    if len(targets) == 0 or (place is not None and (counts == 0).any()):
        notes = [
            "Some classes have no held-out rows, so the threshold is 0.5, probabilities are not "
            "calibrated and no verdict is unsure."
        ]
        if stated is not None:
            notes.append(
                "decision.prior is not used either, because it needs held-out rows of all classes."
            )
        half = None if place is None else _half(settings, place, undone)
        rule = DecisionRule(positive=positive, threshold=half)
        return Decision(
            rule,
            1.0,
            softmax(logits + taken_back) if len(targets) else logits,
            taken_back,
            notes=notes,
        )
    calibration = calibrate(logits, targets, bias=place is not None and settings.prior != "trained")
    if place is None:
        # Divided as the scores are: the most probable class is the one that training made it.
        taken_back = taken_back / calibration.temperature
        shift = taken_back
    else:
        shift = none if stated is None else prior_shift(counts[place] / len(targets), stated, place)
        shift = shift + np.array([-calibration.bias / 2, calibration.bias / 2])
    probabilities = softmax(logits / calibration.temperature + shift)
    chosen = choose_rule(HeldOutScores.of(probabilities, targets), classes, positive, settings)
    return Decision(
        chosen.rule,
        calibration.temperature,
        probabilities,
        shift,
        calibration,
        chosen.threshold,
        chosen.unsure,
        [*calibration.notes, *chosen.notes],
    )


def choose_rule(
    held_out: HeldOutScores,
    classes: Sequence[str],
    positive: str | None,
    settings: DecisionSettings,
) -> ChosenRule:
    """Choose threshold and unsure band on calibrated held-out scores; the model does not change.

    Args:
        held_out: H rows, of both classes where there are two.
        classes: K labels.
        positive: label of the positive class; None for more than two classes.
        settings: maximum false positive rate, costs and share of unsure verdicts.

    Raises:
        ConfigError: as `fit_decision_rule`.
    """
    check_decision_settings(settings, len(classes))
    if positive is None:
        floor = confidence_floor(held_out.scores[:, None], held_out.truth, settings.abstain_rate)
        rule = DecisionRule(confidence_floor=None if floor is None else floor.value)
        return ChosenRule(rule, None, floor, [])
    place = list(classes).index(positive)
    scores, truth = held_out.of_class(place)
    costs = settings.costs
    band: RejectBand | None
    if costs is not None:
        threshold = cost_threshold(scores, truth, blocked=costs["blocked"], missed=costs["missed"])
    elif settings.max_fpr is None and settings.scoring == "f1_macro":
        threshold = macro_f1_threshold(
            scores,
            truth,
            level_rows=LEVEL_ROWS,
            level_share=LEVEL_SHARE,
            prior=settings.prior if isinstance(settings.prior, float) else None,
        )
    else:
        threshold = choose_threshold(
            scores,
            truth,
            max_fpr=settings.max_fpr,
            negative=classes[1 - place],
            level_rows=LEVEL_ROWS,
            level_share=LEVEL_SHARE,
            prior=settings.prior if isinstance(settings.prior, float) else None,
        )
    if costs is not None and "unsure" in costs:
        band = cost_reject_band(scores, truth, threshold.value, **costs)
    else:
        band = reject_band(scores, truth, threshold.value, share=settings.abstain_rate)
    ends: dict[str, Any] = {} if band is None else {"low": band.low, "high": band.high}
    rule = DecisionRule(positive=positive, threshold=threshold.value, **ends)
    return ChosenRule(rule, threshold, band, list(threshold.notes))


def _half(settings: DecisionSettings, place: int, uncorrected: NDArray[np.float64]) -> float:
    """The threshold where nothing is held out: by the costs, else 0.5 as the scores were
    trained.
    """
    if settings.costs is not None:
        return settings.costs["blocked"] / (settings.costs["blocked"] + settings.costs["missed"])
    return float(1 / (1 + np.exp(uncorrected[1 - place] - uncorrected[place])))


def check_decision_settings(settings: DecisionSettings, classes: int) -> None:
    """Check the settings against the number of classes before training.

    Raises:
        ConfigError: as `fit_decision_rule`.
    """
    if classes > 2:
        stated = {"max_fpr": settings.max_fpr, "costs": settings.costs}
        stated["prior"] = settings.prior if isinstance(settings.prior, float) else None
        for name, value in stated.items():
            if value is not None:
                raise ConfigError(f"decision.{name} needs two classes; the data have {classes}")
        if settings.scoring == "f1":
            raise ConfigError(
                f"decision.scoring = f1 needs two classes; the data have {classes}. f1_macro "
                "chooses by the mean F1 of all classes, auto by their mean average precision"
            )
    if settings.max_fpr is not None and settings.costs is not None:
        raise ConfigError(
            "decision.max_fpr and decision.costs both set the threshold; give only one of them"
        )
