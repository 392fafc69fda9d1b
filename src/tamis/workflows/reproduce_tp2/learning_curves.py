"""The curves of question 9: loss, accuracy and recall on all rows, measured during the training.

A batch has 16 rows, and the last one may have a single row, whose accuracy is 0 or 1. So the curves
do not show batches: at about 40 steps the model is evaluated on all training rows and on all test
rows, as the report does at the end of the epoch. The last point is therefore the figure of question
10 itself. What is measured changes nothing in the training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tamis.classifier.text_classifier import TextClassifier
from tamis.decision.calibration import softmax
from tamis.evaluation.metrics import predictions
from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.features import last_tokens
from tamis.training.loop import LoopCallback, Training

POINTS = 40
"""Evaluations during the training of a head, on features that are computed already."""
FEW_POINTS = 4
"""Evaluations if blocks are trained too: each computes all training rows again."""


@dataclass
class Moment:
    """What was measured after a step: (N, K) logits of the training rows, the loss, and the trained
    weights if the frozen features are enough to evaluate other rows with them.
    """

    step: int
    logits: NDArray[np.float64]
    loss: float
    weights: dict[str, Tensor] = field(default_factory=dict)


class CurveCallback(LoopCallback):
    """Measures the model on all training rows at evenly spaced steps, the first and the last
    included.
    """

    def __init__(self) -> None:
        """Create a callback for one training."""
        self.moments: list[Moment] = []
        self.steps: list[dict[str, float]] = []
        """step, rows, loss and accuracy of every batch"""
        self.targets: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """(N,) class numbers of the training rows"""
        self.class_weights: list[float] = []
        self.head_change = 0.0
        """Length of the change of the head's weights, relative to the length of the first ones."""
        self._every = 1
        self._first = torch.empty(0)

    def on_begin(self, training: Training) -> None:
        """Measure the untrained head."""
        points = POINTS if training.states.whole else FEW_POINTS
        self._every = max(1, math.ceil(training.total_steps / points))
        self.targets = training.rows.targets[training.rows.fit]
        self.class_weights = training.weights.tolist()
        self._first = training.model.score.weight.detach().clone()
        self._measure(training)

    def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
        """Record the batch; measure if it is time."""
        step = training.at.step
        self.steps.append({"step": step, "rows": rows, "loss": loss, "accuracy": accuracy})
        if step % self._every == 0 or step == training.total_steps:
            self._measure(training)

    def _measure(self, training: Training) -> None:
        logits = training.logits(training.rows.fit)
        targets = training.targets[training.rows.fit]
        loss = float(F.cross_entropy(logits.double(), targets, weight=training.weights.double()))
        weights = (
            {name: p.detach().cpu().clone() for name, p in training.trained.items()}
            if training.states.whole
            else {}
        )
        self.moments.append(Moment(training.at.step, logits.double().numpy(), loss, weights))
        now = training.model.score.weight.detach()
        self.head_change = float((now - self._first).norm() / self._first.norm())


def curve_points(
    callback: CurveCallback,
    classifier: TextClassifier,
    texts: Sequence[str],
    labels: Sequence[str],
    sought: str,
    cache: FeatureCache,
) -> list[dict[str, Any]]:
    """Return the points of the curves: `step`, `loss`, and accuracy and recall of `sought` on the
    training rows (`train`) and on the given test rows (`test`, None if only the end is known).

    The decision rule is that of the classifier, at every point.
    """
    names = [str(label) for label in classifier.classes_]
    targets = np.array([names.index(label) for label in labels])

    def shares(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, float | None]:
        predicted = predictions(
            softmax(logits),
            names,
            positive=classifier.positive_,
            threshold=classifier.rule_.threshold,
        )
        asked = truth == names.index(sought)
        recall = float((predicted[asked] == truth[asked]).mean()) if asked.any() else None
        return {"accuracy": float((predicted == truth).mean()), "recall": recall}

    test = _test_logits(callback.moments, classifier, texts, cache)
    return [
        {
            "step": moment.step,
            "loss": moment.loss,
            "train": shares(moment.logits, callback.targets),
            "test": None if logits is None else shares(logits, targets),
        }
        for moment, logits in zip(callback.moments, test, strict=True)
    ]


def _test_logits(
    moments: Sequence[Moment],
    classifier: TextClassifier,
    texts: Sequence[str],
    cache: FeatureCache,
) -> list[NDArray[np.float64] | None]:
    """(N, K) logits of the test rows with the weights of each moment: the frozen features are
    computed once.
    """
    if not all(moment.weights for moment in moments):
        return [None] * len(moments)
    predictor = classifier.predictor_
    model = predictor.scorer
    trained = {
        name: p for name, p in model.named_parameters() if moments and name in moments[0].weights
    }
    found: list[NDArray[np.float64] | None] = []
    with predictor.computing(), torch.no_grad():
        encoded = predictor.encoder.encode(texts)
        rows = np.arange(len(texts))
        features = last_tokens(model.transformer, encoded, cache=cache)
        last = torch.from_numpy(np.array(features[encoded.windows_of(rows)]))
        last = last.to(model.score.weight.device)
        final = {name: p.detach().clone() for name, p in trained.items()}
        try:
            for moment in moments:
                for name, p in trained.items():
                    p.copy_(moment.weights[name])
                logits = encoded.aggregate(model.head(last), rows)
                found.append(logits.double().cpu().numpy())
        finally:
            for name, p in trained.items():
                p.copy_(final[name])
    return found
