"""Loss and gradients of the rows of an optimizer step, in micro-batches.

Losses are sums, divided once by numbers of the whole step, so neither the size of a micro-batch nor
the number of processes that share the rows has an effect on the result. What is drawn at random
belongs to a part of the step, whoever computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tamis.gpt2.features import FeatureExtractor
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.packing import batch_by_tokens
from tamis.gpt2.step_part import StepPart
from tamis.training.side_by_side import Workers, add_gradient, divide
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


@dataclass(frozen=True)
class Part:
    """Rows of a step that one thread computes."""

    rows: NDArray[np.int64]
    batch: int
    """drawn at random for its micro-batch"""
    number: int
    """within the micro-batch; with `batch` the seed of all that is drawn for its rows"""


class Gradients:
    """Adds the gradients of rows to the trainable weights of a model."""

    def __init__(
        self, model: GPT2Classifier, settings: LoopSettings, class_weights: Tensor
    ) -> None:
        """`class_weights`: (K,) weight of a row by its class, on any device."""
        self.model, self.settings = model, settings
        self.device = model.score.weight.device
        self.class_weights = class_weights.to(self.device)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self._workers = Workers()
        self._tables: dict[Tensor, Tensor] = {}
        """the gradients of embedding tables in the last step (`add_gradient`)"""

    def add(self, data: StepRows, rows: NDArray[np.int64], by: Divisors) -> tuple[float, int]:
        """Add the gradients of `rows` of `data` to those that the weights have.

        On the CPU, parts of the rows are computed side by side.

        Returns:
            The sum of the rows' losses (nats), and the number of rows that are classified right.
        """
        if self.has_parts(data):
            return self.add_parts(data, self.parts(data, rows), by)
        loss_sum, right = 0.0, 0
        tokens = data.states.messages.tokens
        for some in batch_by_tokens(rows, tokens, self.settings.micro_batch_tokens):
            total, loss, correct = self._forward(data, some, by)
            total.backward()  # type: ignore[no-untyped-call]
            loss_sum, right = loss_sum + loss, right + correct
        return loss_sum, right

    def has_parts(self, data: StepRows) -> bool:
        """Return whether the rows of a step are computed in parts."""
        return self.device.type == "cpu" and not data.states.whole

    def draws(self) -> bool:
        """Return whether a step draws at random."""
        settings = self.settings
        some_positions = settings.lm_loss_weight and settings.lm_loss_share < 1
        return bool(self.model.transformer.dropout or settings.token_dropout or some_positions)

    def parts(self, data: StepRows, rows: NDArray[np.int64], processes: int = 1) -> list[Part]:
        """Return the parts of a step on `rows`, for a number of processes."""
        tokens = data.states.messages.tokens
        batches = list(batch_by_tokens(rows, tokens, self.settings.micro_batch_tokens))
        found = []
        for some in batches:
            # Drawn from the generator whose state is in the checkpoint.
            batch = int(torch.randint(2**31, ()))
            divided = divide(some, tokens[some], -(-processes // len(batches)))
            found += [Part(own, batch, number) for number, own in enumerate(divided)]
        return found

    def add_parts(self, data: StepRows, parts: Sequence[Part], by: Divisors) -> tuple[float, int]:
        """`add` for some parts of a step: those of a micro-batch side by side."""
        loss_sum, right = 0.0, 0
        for _, some in groupby(parts, lambda part: part.batch):
            loss, correct = self._add_side_by_side(data, list(some), by)
            loss_sum, right = loss_sum + loss, right + correct
        return loss_sum, right

    def close(self) -> None:
        """Stop the threads that parts are computed in; the next step starts new ones."""
        self._workers.close()

    def _add_side_by_side(
        self, data: StepRows, parts: Sequence[Part], by: Divisors
    ) -> tuple[float, int]:
        """`add_parts` for parts of one micro-batch, their gradients summed in their order."""
        carried = [StepPart((part.batch, part.number)) for part in parts]

        def compute(place: int) -> tuple[Sequence[Tensor | None], float, int]:
            with carried[place].begun():
                total, loss, right = self._forward(data, parts[place].rows, by)
                return torch.autograd.grad(total, self.trained, allow_unused=True), loss, right

        found = self._workers.map(compute, range(len(parts)))
        own = {
            weight: [(part, one[0][place]) for part, one in zip(carried, found, strict=True)]
            for place, weight in enumerate(self.trained)
        }
        self._workers.map(
            lambda weight: add_gradient(weight, own[weight], self._tables), self.trained
        )
        return sum(one[1] for one in found), sum(one[2] for one in found)

    def _forward(
        self, data: StepRows, rows: NDArray[np.int64], by: Divisors
    ) -> tuple[Tensor, float, int]:
        """Return what is to be differentiated, the sum of the losses, and the number of rows that
        are right.
        """
        settings, states, messages = self.settings, data.states, data.states.messages
        targets = data.targets[rows].to(self.device)
        with torch.autocast(
            self.device.type,
            settings.autocast or torch.bfloat16,
            enabled=settings.autocast is not None,
        ):
            last, next_token_loss = states.forward(
                self.model,
                rows,
                lm_loss_share=settings.lm_loss_share if settings.lm_loss_weight else 0.0,
                token_dropout=settings.token_dropout,
            )
        logits = messages.aggregate(self.model.head(last), rows)
        weights = None if data.row_weights is None else data.row_weights[rows]
        losses = self._loss(logits, targets, weights)
        total = losses / by.weight
        if next_token_loss is not None:
            total = total + settings.lm_loss_weight * next_token_loss / by.tokens
        right = int((logits.detach().argmax(1) == targets).sum())
        return total, float(losses.detach()), right

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
