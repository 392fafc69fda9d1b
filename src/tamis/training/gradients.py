"""Loss and gradients of the rows of an optimizer step, in micro-batches.

Losses are sums, divided once by numbers of the whole step, so neither the size of a micro-batch nor
the number of processes that share the rows has an effect on the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tamis.gpt2.features import FeatureExtractor
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.packing import batch_by_tokens
from tamis.training.state import LoopSettings


@dataclass(frozen=True)
class StepRows:
    """Labelled texts with the inputs of the trained part of the model."""

    states: FeatureExtractor
    targets: Tensor
    """(R,) class numbers of all texts of `states`"""
    row_weights: Tensor | None = None
    """(R,) further weight of each text in the loss; None: 1"""


@dataclass(frozen=True)
class Divisors:
    """What the sums of a whole step are divided by."""

    weight: float
    """of the classification loss: the sum of the class weights of the rows"""
    tokens: float
    """of the next-token loss: the expected number of predicted positions"""


def divisors(
    data: StepRows, rows: NDArray[np.int64], class_weights: Tensor, settings: LoopSettings
) -> Divisors:
    """Return the divisors of a step on `rows` of `data`; `class_weights`, (K,), lies on the CPU."""
    # Row weights stay out of the divisor: a batch of light rows is to count less than one of
    # heavy rows, and a row alone in its batch would lose its weight altogether.
    weight = float(class_weights[data.targets[rows]].sum())
    # Predicted positions: all but one a window; of what is drawn at random the expected number,
    # known before anything is drawn.
    messages = data.states.messages
    windows = len(messages.windows_of(rows))
    kept = (1.0 - settings.token_dropout) * settings.lm_loss_share
    return Divisors(weight, max(1.0, kept * (int(messages.tokens[rows].sum()) - windows)))


class Gradients:
    """Adds the gradients of rows to the trainable weights of a model."""

    def __init__(
        self, model: GPT2Classifier, settings: LoopSettings, class_weights: Tensor
    ) -> None:
        """`class_weights`: (K,) weight of a row by its class, on any device."""
        self.model, self.settings = model, settings
        self.device = model.score.weight.device
        self.class_weights = class_weights.to(self.device)

    def add(self, data: StepRows, rows: NDArray[np.int64], by: Divisors) -> tuple[float, int]:
        """Add the gradients of `rows` of `data` to those that the weights have.

        Returns:
            The sum of the rows' losses (nats), and the number of rows that are classified right.
        """
        settings, states, messages = self.settings, data.states, data.states.messages
        loss_sum, right = 0.0, 0
        for part in batch_by_tokens(rows, messages.tokens, settings.micro_batch_tokens):
            targets = data.targets[part].to(self.device)
            with torch.autocast(
                self.device.type,
                settings.autocast or torch.bfloat16,
                enabled=settings.autocast is not None,
            ):
                last, next_token_loss = states.forward(
                    self.model,
                    part,
                    lm_loss_share=settings.lm_loss_share if settings.lm_loss_weight else 0.0,
                    token_dropout=settings.token_dropout,
                )
            logits = messages.aggregate(self.model.head(last), part)
            weights = None if data.row_weights is None else data.row_weights[part]
            losses = self._loss(logits, targets, weights)
            total = losses / by.weight
            if next_token_loss is not None:
                total = total + settings.lm_loss_weight * next_token_loss / by.tokens
            total.backward()  # type: ignore[no-untyped-call]
            loss_sum += float(losses.detach())
            right += int((logits.detach().argmax(1) == targets).sum())
        return loss_sum, right

    def _loss(self, logits: Tensor, targets: Tensor, row_weights: Tensor | None) -> Tensor:
        """Sum over rows of the weighted cross-entropy, in nats."""
        smoothing = self.settings.label_smoothing
        if row_weights is None:
            return F.cross_entropy(
                logits,
                targets,
                weight=self.class_weights,
                reduction="sum",
                label_smoothing=smoothing,
            )
        each = F.cross_entropy(
            logits,
            targets,
            weight=self.class_weights,
            reduction="none",
            label_smoothing=smoothing,
        )
        return (each * row_weights.to(self.device)).sum()
