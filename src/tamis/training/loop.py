"""The training loop, for the last K blocks, for everything, and for head and final LayerNorm by
mini-batches as in the reference.

Parameters with `requires_grad` are trained. The states below the lowest trained block come from
`FeatureExtractor` and are computed once. Losses are sums, divided once per step, so that the
micro-batch size has no effect on the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.compute.parallel import compute_in_parallel
from tamis.errors import ConfigError, DataError
from tamis.evaluation.model_selection import Scores, validate
from tamis.gpt2.features import FeatureExtractor
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.packing import batch_by_tokens
from tamis.text.encoding import BATCH_TOKENS
from tamis.training.adamw import AdamW, parameter_groups
from tamis.training.gradients import Gradients, StepRows, divisors
from tamis.training.state import LoopRows, LoopSettings, TrainingState


class LoopCallback:
    """Hooks of the training loop; each does nothing here.

    Callbacks may read the training; they must not draw random numbers or change its weights.
    """

    def on_begin(self, training: Training) -> None:
        """Called when `run` starts, with a new or a restored training."""

    def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
        """Called after an optimizer step: number of rows, their mean loss (nats) and accuracy
        before the step.
        """

    def on_epoch(self, training: Training, scores: Scores | None) -> None:
        """Called after an epoch with the scores on the validation rows; None without validation
        rows.
        """

    def on_end(self, training: Training) -> None:
        """Called when `run` ends, also after an error."""

    def stops(self, training: Training) -> bool:
        """Return whether to stop before the next epoch."""
        return False


class Training:
    """The training of one model. `run` continues from the state in `at`."""

    def __init__(
        self,
        model: GPT2Classifier,
        rows: LoopRows,
        settings: LoopSettings,
        callbacks: Sequence[LoopCallback] = (),
    ) -> None:
        """Prepare the training of the parameters of `model` that require gradients.

        Args:
            model: K classes; `run` changes it.
            rows: training rows and validation rows.
            settings: resolved settings.
            callbacks: called in this order.

        Raises:
            DataError: there is no training row.
        """
        if len(rows.fit) == 0:
            raise DataError("training needs at least one row; got none")
        self.model, self.rows, self.settings, self.callbacks = model, rows, settings, callbacks
        self.states = rows.states
        self.device = model.score.weight.device
        self.targets = torch.from_numpy(rows.targets)
        self.weights = torch.tensor(rows.class_weights, dtype=torch.float32)
        self.row_weights = (
            None
            if rows.row_weights is None
            else torch.tensor(rows.row_weights, dtype=torch.float32)
        )
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = AdamW(parameter_groups(self.trained, settings))
        self.gradients = Gradients(model, settings, self.weights)
        self.best: dict[str, Tensor] = {}
        """Copies of the trained weights after the best epoch, by name; none without validation
        rows, since the last epoch is the best one then."""
        held_out = np.bincount(rows.targets[rows.validation], minlength=len(rows.class_weights))
        self.held_out_logits = torch.empty(0, len(rows.class_weights))
        """(V, K) logits of the validation rows after the last epoch."""
        self.level = rows.selection.level(held_out)
        """Models whose figures are closer than this are level."""
        self.at = TrainingState()
        steps = sum(1 for _ in self.steps_of(0))
        self.steps_per_epoch = steps
        self.total_steps = steps * settings.epochs

    def run(self) -> TrainingState:
        """Train until the last epoch or until a callback stops it, then restore the weights of the
        best epoch.

        Without validation rows the last epoch is the best one.

        Raises:
            ConfigError: the loss is not finite, for example because the learning rate is too high.
        """
        try:
            for callback in self.callbacks:
                callback.on_begin(self)
            while self.at.epoch < self.settings.epochs and not any(
                callback.stops(self) for callback in self.callbacks
            ):
                self._epoch()
        finally:
            self.gradients.close()
            for callback in self.callbacks:
                callback.on_end(self)
        with torch.no_grad():
            for name, tensor in self.best.items():
                self.trained[name].copy_(tensor)
        return self.at

    def _epoch(self) -> None:
        """The rest of the epoch that `at` stands in."""
        recut = self.rows.retokenize
        states = self.states if recut is None else self.states.retokenized(recut(self.at.epoch))
        for place, rows in enumerate(self.steps_of(self.at.epoch)):
            if place < self.at.place:
                continue
            loss, accuracy = self.train_step(rows, states)
            self.at.place = place + 1
            for callback in self.callbacks:
                callback.on_step(self, len(rows), loss, accuracy)
        scores = self._close_epoch()
        for callback in self.callbacks:
            callback.on_epoch(self, scores)

    def fit_rows_of(self, epoch: int) -> NDArray[np.int64]:
        """Return the rows of an epoch, shuffled. With undersampling there are as many rows of every
        class as of the rarest one, drawn again in each epoch.
        """
        random = np.random.default_rng([self.settings.seed, epoch])
        rows = random.permutation(self.rows.fit)
        if not self.settings.undersample:
            return rows
        labels = self.targets.numpy()[rows]
        counts = np.bincount(labels, minlength=len(self.weights))
        fewest = counts[counts > 0].min()
        kept = np.concatenate([np.flatnonzero(labels == k)[:fewest] for k in range(len(counts))])
        return np.asarray(rows[np.sort(kept)])

    def steps_of(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each step of an epoch."""
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
        """Take one optimizer step on `rows` of `states`. Returns loss and accuracy of the batch
        before the step.
        """
        settings = self.settings
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self._schedule()
        self.optimizer.zero_grad()
        data = StepRows(states, self.targets, self.row_weights)
        by = divisors(data, rows, self.weights, settings)
        loss_sum, right = self.gradients.add(data, rows, by)
        if not math.isfinite(loss_sum):
            raise ConfigError(
                f"the loss became {loss_sum} at step {self.at.step + 1}; lower "
                f"train.learning_rate (now {settings.learning_rate:g})"
            )
        if settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(list(self.trained.values()), settings.clip_norm)
        self.optimizer.step()
        self.at.step += 1
        loss, accuracy = loss_sum / by.weight, right / len(rows)
        row = {"step": self.at.step, "epoch": self.at.epoch + 1, "loss": loss, "accuracy": accuracy}
        self.at.history.append(row | {"learning_rate": self.optimizer.param_groups[0]["lr"]})
        return loss, accuracy

    def _close_epoch(self) -> Scores | None:
        """Score the validation rows and keep the weights where they are the best so far."""
        self.at.epoch += 1
        self.at.place = 0
        scores, held_out = None, self.rows.validation
        if len(held_out):
            self.held_out_logits = self.logits(held_out)
            scores = self.scores(self.held_out_logits)
            row = {"step": self.at.step, "epoch": self.at.epoch}
            self.at.history.append(
                row | {f"validation_{k}": v for k, v in scores.to_dict().items()}
            )
        # Average precision or macro F1 first, the loss where it is level to three digits. Epochs
        # that the held-out rows cannot tell apart are level too, and the later one is taken: its
        # learning rate was lower.
        merit = -math.inf if scores is None else scores.merit
        if scores is None or merit > self.at.best - self.level:
            self.at.best, self.at.best_epoch = max(merit, self.at.best), self.at.epoch
            kept = {} if scores is None else self.trained
            self.best = {name: p.detach().clone() for name, p in kept.items()}
        return scores

    def scores(self, logits: Tensor) -> Scores:
        """Return loss, accuracy and average precision of the validation rows by their logits."""
        return validate(logits, self.targets[self.rows.validation], self.rows.selection)

    def held_out_scores(self) -> Scores | None:
        """Return the scores on the validation rows with the current weights; None without
        validation rows.
        """
        rows = self.rows.validation
        return self.scores(self.logits(rows)) if len(rows) else None

    def logits(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the (len(rows), K) logits in fp32, without dropout."""
        self.model.eval()
        out = torch.empty(len(rows), len(self.weights))
        tokens = self.states.messages.tokens[rows]
        order = np.argsort(-tokens, kind="stable")
        size = min(self.settings.micro_batch_tokens, BATCH_TOKENS)

        def logits_of(places: NDArray[np.int64]) -> Tensor:
            last, _ = self.states.forward(self.model, rows[places], lm_loss_share=0.0)
            return self.states.messages.aggregate(self.model.head(last), rows[places]).cpu()

        batches = list(batch_by_tokens(order, tokens, size))
        found = compute_in_parallel(logits_of, batches, device=self.device)
        for places, values in zip(batches, found, strict=True):
            out[places] = values
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
