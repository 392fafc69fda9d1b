"""The learned attributes of a classifier, how they are taken over, and what `verbose` shows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from numpy.typing import NDArray

from tamis.classifier.base import Parameters
from tamis.classifier.fitted import TrainingRecord
from tamis.classifier.out_of_distribution import OODDetector
from tamis.classifier.predictor import Predictor
from tamis.classifier.storage import StoredClassifier
from tamis.config import Recipe
from tamis.decision.fit_rule import HeldOutScores
from tamis.decision.verdict import DecisionRule
from tamis.progress import Bars, Progress, Silent, show
from tamis.training.callbacks import Callbacks, log_notice

logger = logging.getLogger("tamis.classifier")


class Learned(Parameters):
    """Parameters and learned attributes of a classifier."""

    predictor_: Predictor
    """texts to logits"""
    rule_: DecisionRule
    """probabilities to labels and verdicts"""
    classes_: NDArray[Any]
    """(K,) sorted labels, in the type that `fit` was given"""
    positive_: str | None
    """the positive label of two"""
    recipe_: Recipe
    """every setting, resolved"""
    temperature_: float
    held_out_: HeldOutScores | None
    """scores of held-out rows, on which the decision rule can be chosen again"""
    training_: TrainingRecord
    """history, notes and facts; only after `fit`"""
    _ood_detector_: OODDetector | None

    @property
    def ood_detector_(self) -> OODDetector:
        """Detector of out-of-distribution texts. After `fit` its limit is fitted on the training
        texts at the first use, which costs at most as much as predictions of 1,000 texts.
        """
        if self._ood_detector_ is None:
            record = self.training_
            unfitted = OODDetector(self.predictor_, self.recipe_)
            self._ood_detector_ = unfitted.fitted(
                record.rows.texts, features=record.features, held_out=record.unseen_texts
            )
        return self._ood_detector_

    @ood_detector_.setter
    def ood_detector_(self, detector: OODDetector) -> None:
        self._ood_detector_ = detector

    def _hold(
        self,
        stored: StoredClassifier,
        training: TrainingRecord | None = None,
        *,
        told: Sequence[str] = (),
    ) -> Self:
        """Take over the learned parts. `told` are the notes that `on_notice` had already."""
        self.predictor_, self.rule_, self.classes_ = stored.predictor, stored.rule, stored.classes
        self.recipe_, self.temperature_ = stored.recipe, stored.temperature
        self.positive_ = stored.rule.positive
        self.held_out_ = stored.held_out
        self._ood_detector_ = None
        if training is None:
            self.ood_detector_ = OODDetector(stored.predictor, stored.recipe, stored.limit)
        else:
            self.training_ = training
            new = [note for note in training.notes if note not in told]
            self._tell([f"tune: {self.recipe_.tune} ({training.tune_reason})", *new])
        self._remember_parameters()
        return self

    def _progress(self) -> Progress | None:
        """The progress bars of `verbose`."""
        return Bars() if self.verbose else None

    def _shown(self, callbacks: Callbacks) -> Callbacks:
        """The hooks of `fit`, with the progress bars and notices of `verbose` where it has none of
        its own.
        """
        if not self.verbose:
            return callbacks
        own, say = callbacks.progress, callbacks.on_notice
        return replace(
            callbacks,
            progress=Bars() if isinstance(own, Silent) else own,
            on_notice=show if say is log_notice else say,
        )

    def _tell(self, sentences: list[str]) -> None:
        """Write sentences to the logger; `verbose` also shows them."""
        for sentence in sentences:
            logger.info("%s", sentence)
            if self.verbose:
                show(sentence)

    @property
    def _names(self) -> list[str]:
        return [str(label) for label in self.classes_]
