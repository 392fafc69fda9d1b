"""From the result of a training to a classifier: fit the decision rule on held-out scores, and fold
what changes a score into the weights.

Shapes: R training rows, H of them held out, K classes, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.predictor import Predictor
from tamis.classifier.storage import StoredClassifier
from tamis.classifier.training_features import text_keys
from tamis.decision.fit_rule import Decision, HeldOut, HeldOutScores, fit_decision_rule
from tamis.decision.prior import keeps_class_weights, log_prior_correction
from tamis.head.class_weights import effective_class_weights
from tamis.head.linear_head import fold_into
from tamis.head.refit import head_of
from tamis.head.result import Rows, TrainingResult
from tamis.training.long_texts import learn_penalty
from tamis.training.prepare import LabelledTexts, TrainingPlan


@dataclass(frozen=True)
class TrainingRecord:
    """How a classifier was fitted. Predictions do not depend on it."""

    decision: Decision
    """the decision rule, with temperature, calibration and threshold as they were found"""
    shift: NDArray[np.float64]
    """(K,) added to logits that were divided by the temperature"""
    held_out: Rows
    """(H,) training rows with scores from models that did not see them"""
    held_out_probabilities: NDArray[np.float64]
    """(H, K)"""
    cross_validated: bool
    """whether those scores come from folds: the model itself was fitted on these rows"""
    fold_ids: Rows | None
    """(R,) fold of each training row; None where the scores do not come from folds of all rows"""
    features: NDArray[np.float32] | None
    """(R, C) of length one, where the exact head was solved on them; None otherwise"""
    history: list[dict[str, Any]]
    """a row a step and one an epoch with validation figures; for the exact head a row for each
    layer, pooling and penalty that was tried"""
    facts: dict[str, Any]
    """what was chosen or found on the way"""
    tune_reason: str
    """why `tune` became what it is"""
    notes: list[str]
    """sentences worth showing"""
    extra_notes: list[str]
    """those that a report does not contain anyway"""
    rows: LabelledTexts
    """R training rows, kept in memory for baselines and the out-of-distribution limit; texts are
    neither saved nor pickled"""

    @cached_property
    def keys(self) -> NDArray[np.uint8]:
        """(R, 32) SHA-256 of the texts."""
        return text_keys(self.rows.texts)

    @property
    def labelled_texts(self) -> tuple[list[str], list[str]] | None:
        """R texts, and R labels as text; None after pickling."""
        labels = [self.rows.classes[target] for target in self.rows.targets.tolist()]
        return (self.rows.texts, labels) if self.rows.texts else None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a pickle, which holds no training texts."""
        return {**vars(self), "keys": self.keys, "rows": replace(self.rows, texts=[])}

    @property
    def unseen_texts(self) -> list[str]:
        """The texts of the rows that the model was not trained on."""
        rows = self.held_out if not self.cross_validated else self.held_out[:0]
        if not self.rows.texts:
            return []
        return [self.rows.texts[row] for row in rows.tolist()]


def fitted_classifier(
    plan: TrainingPlan, result: TrainingResult, classes: NDArray[Any]
) -> tuple[StoredClassifier, TrainingRecord]:
    """Fit temperature, prior, threshold and unsure band on the held-out scores.

    Args:
        plan: what the model was trained on.
        result: the trained model (it is changed) and its held-out scores.
        classes: (K,) sorted labels in their original type.
    """
    recipe = plan.recipe.changed(result.selected_settings)
    targets, names = plan.data.targets[plan.data.train], plan.data.classes
    fitted = targets[plan.fitted]
    row_weights = plan.data.row_weights
    if row_weights is not None:
        row_weights = row_weights[np.concatenate([plan.data.train[plan.fitted], plan.data.copies])]
    weights = effective_class_weights(recipe, fitted, targets[plan.copied], names, row_weights)
    correction = log_prior_correction(np.bincount(fitted, minlength=len(names)), weights)
    if recipe.decision.prior == "trained":
        correction = np.zeros(len(names))
    held_out = targets[result.held_out]
    decision = fit_decision_rule(
        HeldOut(result.held_out_logits + correction, held_out, names, plan.positive),
        recipe.decision,
        uncorrected=correction,
        weighted=keeps_class_weights(recipe, len(names))
        or (plan.data.row_weights is not None and len(names) > 2),
    )
    shift = correction / decision.temperature + decision.shift
    model = result.model.requires_grad_(False).eval()
    if shift.any():
        head = head_of(model).scaled(1 / decision.temperature)
        fold_into(model, head.weight, head.bias + shift)
    else:
        model.score.weight /= decision.temperature
    encoder = plan.encoder
    if result.concatenated_logits is not None and decision.calibration:
        windows, positives = (
            logits / decision.temperature + shift
            for logits in (
                result.concatenated_logits,
                result.held_out_logits[held_out == encoder.aggregation.positive],
            )
        )
        threshold = decision.rule.threshold
        penalty = learn_penalty(windows, positives, encoder.aggregation, threshold)
        if penalty is not None:
            recipe = recipe.changed({"text.window_penalty": penalty})
            encoder = encoder.with_penalty(penalty)
    notes = [*plan.notes, *result.notes]
    # Reports have the notes of a calibrated decision already.
    extra = notes if decision.calibration else [*notes, *decision.notes]
    record = TrainingRecord(
        decision,
        shift,
        result.held_out,
        decision.probabilities,
        result.cross_validated,
        plan.folds if len(result.held_out) == len(targets) else None,
        result.features,
        result.history,
        result.facts,
        plan.tune_reason,
        [*notes, *decision.notes],
        extra,
        plan.rows,
    )
    predictor = Predictor(model, encoder, plan.compute)
    rule, temperature = decision.rule, decision.temperature
    scores = HeldOutScores.of(decision.probabilities, held_out) if decision.calibration else None
    stored = StoredClassifier(predictor, rule, classes, recipe, temperature, held_out=scores)
    return stored, record
