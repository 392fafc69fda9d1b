"""The one training loop: the last K blocks, everything, or head and final LayerNorm by mini-batches
as in the reference.

What is trained is a matter of `requires_grad`; what lies under the lowest trained block comes from
`FeatureExtractor`, computed once. Losses are sums divided once by the step's own count, so that
cutting a step into micro-batches changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tamis.errors import ConfigError, DataError
from tamis.evaluation.model_selection import Scores, validate
from tamis.gpt2.features import FeatureExtractor
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.packing import batch_by_tokens
from tamis.progress import Progress, Silent
from tamis.text.encoding import EncodedTexts
from tamis.training.adamw import AdamW


@dataclass(frozen=True)
class LoopSettings:
    """Resolved settings of one training; `tamis.config` holds their texts, units and defaults."""

    epochs: int
    learning_rate: float
    head_learning_rate: float
    weight_decay: float
    decay_everything: bool
    warmup_ratio: float
    schedule: str
    clip_norm: float
    batch_rows: int | None
    batch_tokens: int
    micro_batch_tokens: int
    patience: int | None
    undersample: bool
    label_smoothing: float
    lm_loss_weight: float
    lm_loss_share: float
    token_dropout: float
    autocast: torch.dtype | None
    seed: int


@dataclass
class TrainingState:
    """Everything but tensors that a resumed training needs to go on as if it had never stopped."""

    step: int = 0
    epoch: int = 0
    place: int = 0
    """Steps done inside the current epoch."""
    best: float = -math.inf
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


Save = Callable[[GPT2Classifier, AdamW, TrainingState, dict[str, Tensor], bool], None]


class Training:
    """One training of one model: state, the loop and what it needs. `run` may be called on a fresh
    or on a restored one.
    """

    on_epoch: Callable[[int, Scores], None] | None = None
    """Told an epoch's number (from 1) and its validation figures; what it raises ends the
    training."""
    name: str = "training"
    """Under which progress is told."""
    retokenize: Callable[[int], EncodedTexts] | None = None
    """Gives the rows of `states` cut into other tokens for an epoch, numbered from 0; what is
    judged is never cut anew."""

    def __init__(
        self,
        model: GPT2Classifier,
        states: FeatureExtractor,
        targets: NDArray[np.int64],
        class_weights: NDArray[np.float64],
        settings: LoopSettings,
        *,
        fit_rows: NDArray[np.int64],
        validation_rows: NDArray[np.int64],
        positive: int | None = None,
    ) -> None:
        """Rows are numbers into `states` and `targets`; `class_weights` is (K,); `positive`, or the
        rarer of two classes, chooses an epoch.

        Raises:
            DataError: there is no row to fit.
        """
        if len(fit_rows) == 0:
            raise DataError("training needs at least one row; got none")
        self.model, self.states, self.settings = model, states, settings
        self.device = model.score.weight.device
        self.targets = torch.from_numpy(targets)
        self.weights = torch.tensor(class_weights, dtype=torch.float32)
        self.loss_weights = self.weights.to(self.device)
        self.fit_rows, self.validation_rows = fit_rows, validation_rows
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = _adamw(self.trained, settings)
        self.best: dict[str, Tensor] = {}
        self.positive = positive
        held_out = np.bincount(targets[validation_rows], minlength=len(class_weights))
        decisive = held_out if positive is None else held_out[[positive]]
        self.level = 0.5 / decisive[decisive > 0].min() if decisive.any() else 0.0
        """Average precisions closer than half a held-out row of the positive class, or of the
        rarest, are level."""
        self.at = TrainingState()
        steps = sum(1 for _ in self.steps_of(0))
        self.steps_per_epoch = steps
        self.total_steps = steps * settings.epochs

    def run(self, *, save: Save | None = None, progress: Progress | None = None) -> TrainingState:
        """Train to the end or until `patience` epochs were worse than the best, then put the best
        epoch's weights back.

        With `save`, it is called after every step (it decides when to write) and, last argument
        true, at every epoch's end. Without validation rows the last epoch counts.

        Raises:
            ConfigError: the loss is no number any more, as too high a learning rate makes it.
        """
        messages = len(self.fit_rows_of(0)) * self.settings.epochs
        done = self.at.epoch * len(self.fit_rows_of(0))
        with (progress or Silent()).task(
            self.name, total=messages, unit="messages", done=done
        ) as task:
            while self.at.epoch < self.settings.epochs and not self._patience_is_over():
                states = (
                    self.states
                    if self.retokenize is None
                    else self.states.retokenized(self.retokenize(self.at.epoch))
                )
                for place, rows in enumerate(self.steps_of(self.at.epoch)):
                    if place < self.at.place:
                        continue
                    loss, accuracy = self.train_step(rows, states)
                    self.at.place = place + 1
                    task.advance(len(rows), f"loss {loss:.3f}, accuracy {accuracy:.3f}")
                    if save:
                        save(self.model, self.optimizer, self.at, self.best, False)
                self._close_epoch()
                if save:
                    save(self.model, self.optimizer, self.at, self.best, True)
        with torch.no_grad():
            for name, tensor in self.best.items():
                self.trained[name].copy_(tensor)
        return self.at

    def fit_rows_of(self, epoch: int) -> NDArray[np.int64]:
        """The epoch's rows, shuffled; with undersampling, as many of every class as the rarest has,
        drawn anew each epoch.
        """
        random = np.random.default_rng([self.settings.seed, epoch])
        rows = random.permutation(self.fit_rows)
        if not self.settings.undersample:
            return rows
        labels = self.targets.numpy()[rows]
        counts = np.bincount(labels, minlength=len(self.weights))
        fewest = counts[counts > 0].min()
        kept = np.concatenate([np.flatnonzero(labels == k)[:fewest] for k in range(len(counts))])
        return np.asarray(rows[np.sort(kept)])

    def steps_of(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Rows of each step of an epoch, in its order."""
        rows = self.fit_rows_of(epoch)
        if self.settings.batch_rows is not None:
            yield from (
                rows[i : i + self.settings.batch_rows]
                for i in range(0, len(rows), self.settings.batch_rows)
            )
        else:
            yield from batch_by_tokens(
                rows, self.states.messages.tokens, self.settings.batch_tokens
            )

    def train_step(self, rows: NDArray[np.int64], states: FeatureExtractor) -> tuple[float, float]:
        """One optimiser step over `rows` of `states`; returns the class loss and the accuracy of
        the batch before the step.
        """
        settings = self.settings
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self._schedule()
        self.optimizer.zero_grad()
        weight = float(self.weights[self.targets[rows]].sum())
        # Predicted positions: all but one a window; of what is drawn at random the expected number,
        # known before anything is drawn.
        messages = states.messages
        windows = len(messages.windows_of(rows))
        kept = (1.0 - settings.token_dropout) * settings.lm_loss_share
        tokens = max(1.0, kept * (int(messages.tokens[rows].sum()) - windows))
        loss_sum, right = 0.0, 0
        for part in batch_by_tokens(rows, messages.tokens, settings.micro_batch_tokens):
            targets = self.targets[part].to(self.device)
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
            losses = F.cross_entropy(
                logits,
                targets,
                weight=self.loss_weights,
                reduction="sum",
                label_smoothing=settings.label_smoothing,
            )
            total = losses / weight
            if next_token_loss is not None:
                total = total + settings.lm_loss_weight * next_token_loss / tokens
            total.backward()  # type: ignore[no-untyped-call]
            loss_sum += float(losses.detach())
            right += int((logits.detach().argmax(1) == targets).sum())
        if not math.isfinite(loss_sum):
            raise ConfigError(
                f"the loss became {loss_sum} at step {self.at.step + 1}; lower "
                f"train.learning_rate (now {settings.learning_rate:g})"
            )
        if settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(list(self.trained.values()), settings.clip_norm)
        self.optimizer.step()
        self.at.step += 1
        loss, accuracy = loss_sum / weight, right / len(rows)
        row = {"step": self.at.step, "epoch": self.at.epoch + 1, "loss": loss, "accuracy": accuracy}
        self.at.history.append(row | {"learning_rate": self.optimizer.param_groups[0]["lr"]})
        return loss, accuracy

    def _close_epoch(self) -> None:
        self.at.epoch += 1
        self.at.place = 0
        scores = self.held_out_scores()
        if scores is not None:
            row = {"step": self.at.step, "epoch": self.at.epoch}
            self.at.history.append(
                row | {f"validation_{k}": v for k, v in scores.to_dict().items()}
            )
            if self.on_epoch is not None:
                self.on_epoch(self.at.epoch, scores)
        # Average precision first, the loss where it is level to three digits. Epochs that the
        # held-out rows cannot tell apart are level too, and the later one is taken: its learning
        # rate was lower.
        merit = -math.inf if scores is None else scores.merit
        if scores is None or merit > self.at.best - self.level:
            self.at.best, self.at.best_epoch = max(merit, self.at.best), self.at.epoch
            self.best = {name: p.detach().clone() for name, p in self.trained.items()}

    def scores(self, rows: NDArray[np.int64]) -> Scores:
        """Loss, accuracy and average precision on rows, with the weights as they are."""
        return validate(self.logits(rows), self.targets[rows], self.positive)

    def held_out_scores(self) -> Scores | None:
        """The same on the validation rows; None where there are none."""
        return self.scores(self.validation_rows) if len(self.validation_rows) else None

    def logits(self, rows: NDArray[np.int64]) -> Tensor:
        """(len(rows), K) fp32, no dropout."""
        self.model.eval()
        out = torch.empty(len(rows), len(self.weights))
        tokens = self.states.messages.tokens[rows]
        order = np.argsort(-tokens, kind="stable")
        with torch.no_grad():
            for places in batch_by_tokens(order, tokens, self.settings.micro_batch_tokens):
                last, _ = self.states.forward(self.model, rows[places], lm_loss_share=0.0)
                out[places] = self.states.messages.aggregate(
                    self.model.head(last), rows[places]
                ).cpu()
        return out

    def _schedule(self) -> float:
        """Share of the peak learning rate at this step: linear warm-up, then cosine to zero or
        constant.
        """
        warmup = max(1, round(self.settings.warmup_ratio * self.total_steps))
        step = self.at.step
        if self.settings.warmup_ratio and step < warmup:
            return (step + 1) / warmup
        if self.settings.schedule == "constant":
            return 1.0
        return 0.5 * (
            1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, self.total_steps - warmup)))
        )

    def _patience_is_over(self) -> bool:
        patience = self.settings.patience
        return (
            patience is not None
            and len(self.validation_rows) > 0
            and self.at.epoch - self.at.best_epoch >= patience > 0
        )


def _adamw(trained: dict[str, torch.nn.Parameter], settings: LoopSettings) -> AdamW:
    """AdamW in three groups: matrices (decayed), embeddings with LayerNorms and biases (not), and
    the head with its own rate.
    """
    head = [p for name, p in trained.items() if name.startswith("score.")]
    rest = {name: p for name, p in trained.items() if not name.startswith("score.")}
    plain_decay = settings.weight_decay if settings.decay_everything else 0.0
    plain = {name for name, p in rest.items() if p.ndim < 2 or ".wpe." in name or ".wte." in name}
    groups = [
        {
            "params": [p for n, p in rest.items() if n not in plain],
            "peak": settings.learning_rate,
            "weight_decay": settings.weight_decay,
        },
        {
            "params": [rest[n] for n in rest if n in plain],
            "peak": settings.learning_rate,
            "weight_decay": plain_decay,
        },
        {
            "params": head,
            "peak": settings.head_learning_rate,
            "weight_decay": settings.weight_decay,
        },
    ]
    groups = [group | {"lr": group["peak"]} for group in groups if group["params"]]
    return AdamW(groups)
