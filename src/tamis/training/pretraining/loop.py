"""The pretraining loop: one step after another over passes of the corpus, the same bytes for the
same seed, on one process or many.

Every draw is a function of the seed, of the tokens seen in stages before and of the step's place,
so a resumed run needs no random state. Several processes (torchrun) divide the texts of a step
among them, and gradients are summed: the step is the same up to rounding, except that the
similarity loss compares texts inside a process only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.errors import ConfigError
from tamis.gpt2.packing import batch_by_tokens
from tamis.progress import Progress, Silent
from tamis.training.distributed.team import counted
from tamis.training.pretraining.corpus import Corpus
from tamis.training.pretraining.gradients import (
    LOSSES,
    Counts,
    PretrainingGradients,
    StepTexts,
)
from tamis.training.pretraining.losses import Student
from tamis.training.pretraining.muon import decay_begins, optimizers, rate
from tamis.training.pretraining.recipe import PretrainRecipe
from tamis.training.pretraining.sampled_softmax import by_frequency, draw
from tamis.training.pretraining.sequences import Sequences
from tamis.training.pretraining.shared_steps import share_steps
from tamis.training.pretraining.teacher import TeacherStore

LOOKAHEAD_TEXTS = 4096
"""Texts whose teacher's vectors are computed at once, before the steps that need them."""


@dataclass
class Place:
    """How far a pretraining is."""

    step: int = 0
    tokens: int = 0
    number: int = 0
    """of the pass"""
    place: int = 0
    """text of the pass"""
    history: list[dict[str, Any]] = field(default_factory=list)
    """a row a measurement, and one every so many steps"""
    processes: list[int] = field(default_factory=list)
    """how many processes shared the steps, one after the other; none where it was always one"""
    seconds: float = field(default=0.0, compare=False)
    """spent so far; the same work may take longer"""


Event = Callable[["Pretraining"], None]


def distilled(corpus: Corpus, recipe: PretrainRecipe) -> NDArray[np.bool_]:
    """(texts,) whether each text is distilled, that is, has the teacher's vector as target."""
    longest = recipe.objective.distilled_words
    if longest is None:
        return np.ones(len(corpus.texts), dtype=bool)
    return np.array([len(text.split()) <= longest for text in corpus.texts], dtype=bool)


class Pretraining:
    """Weights, optimisers and data of one pretraining."""

    def __init__(
        self,
        student: Student,
        recipe: PretrainRecipe,
        corpus: Corpus,
        sequences: Sequences,
        store: TeacherStore | None,
        *,
        autocast: torch.dtype | None = None,
        earlier: int = 0,
    ) -> None:
        """Begin.

        Args:
            student: what learns; its weights are changed.
            recipe: what is done.
            corpus: the texts.
            sequences: the same texts as tokens.
            store: the teacher's vectors, None without one.
            autocast: type of matrix products, None for fp32.
            earlier: tokens that the network has seen in stages before; each stage draws another
                order of the same texts.
        """
        self.student, self.recipe, self.corpus, self.sequences, self.store = (
            student,
            recipe,
            corpus,
            sequences,
            store,
        )
        self.autocast = autocast
        self.seed = (
            int(np.random.SeedSequence([recipe.seed, earlier]).generate_state(1)[0])
            if earlier
            else recipe.seed
        )
        """Of every draw of order, positions and candidates."""
        self.optimizers = optimizers(student, recipe.optimizer)
        self.at = Place()
        self.before = 0
        """Tokens seen before the last step."""
        self.device = student.trunk.wte.weight.device
        self.rows = None if store is None else store.find(corpus.texts)
        self.distilled = (
            distilled(corpus, recipe)
            if store is not None
            else np.zeros(len(corpus.texts), dtype=bool)
        )
        frequent = recipe.objective.frequent_pieces
        self.pieces = (
            by_frequency(sequences.flat, student.trunk.config.vocab_size) if frequent else None
        )
        self.plain = sequences
        """The texts as they are; `sequences` holds those of the current pass, some varied."""
        self.bank = self._bank()
        self.gradients = share_steps(
            PretrainingGradients(
                student,
                recipe.objective,
                micro_batch_tokens=recipe.schedule.micro_batch_tokens,
                autocast=autocast,
                bank=self.bank,
            ),
            None,
        )
        self.order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def was_stable(self) -> bool:
        """Whether the last step was the last one before the learning rate falls."""
        return self.before < decay_begins(self.recipe.schedule) <= self.at.tokens

    def run(
        self,
        *,
        each_step: Event = lambda _: None,
        measure: Event = lambda _: None,
        progress: Progress | None = None,
        name: str = "pretraining",
    ) -> Place:
        """Train until the schedule's tokens are seen.

        Args:
            each_step: called after every step; saves, where it is time.
            measure: called every `measure_every` tokens and at the end; adds to the history.
            progress: receives tokens and losses.
            name: under which progress is reported.
        """
        schedule = self.recipe.schedule
        self.at.processes = counted(self.at.processes)
        since = time.monotonic()
        with (progress or Silent()).task(
            name, total=schedule.length, unit="tokens", done=self.at.tokens
        ) as task:
            while self.at.tokens < schedule.length:
                for rows in self.batches():
                    before = self.before = self.at.tokens
                    found = self.train_step(rows)
                    self.at.step += 1
                    self.at.place += len(rows)
                    task.advance(
                        self.at.tokens - before,
                        ", ".join(
                            f"{name.replace('_', ' ')} {value:.3f}" for name, value in found.items()
                        ),
                    )
                    if self.at.step % 20 == 1:
                        self.at.history.append(
                            {"step": self.at.step, "tokens": self.at.tokens, **found}
                        )
                    last = self.at.tokens >= schedule.length
                    if (
                        last
                        or before // schedule.measure_every
                        != self.at.tokens // schedule.measure_every
                    ):
                        measure(self)
                    since, spent = time.monotonic(), time.monotonic() - since
                    self.at.seconds += spent
                    each_step(self)
                    if last:
                        break
                else:
                    self.at.number, self.at.place = self.at.number + 1, 0
        return self.at

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """The rest of the current pass in steps; the last, short one of a pass is a step too."""
        if self.order is None or self.order[0] != self.at.number:
            self.order = self.at.number, self.corpus.a_pass(self.seed, self.at.number)
            self.sequences = self._sequences_of_pass(self.at.number)
        order = self.order[1]
        place = 0
        for rows in batch_by_tokens(
            order, self.sequences.lengths, self.recipe.schedule.batch_tokens
        ):
            if place >= self.at.place:
                self._look_ahead(order, place)
                yield rows
            place += len(rows)

    def _bank(self) -> torch.Tensor | None:
        """(M, D) the teacher's vectors of the bank's texts: the first ones of the first pass."""
        objective = self.recipe.objective
        if self.store is None or not objective.bank_weight:
            return None
        rows = self.corpus.a_pass(self.recipe.seed, 0)
        rows = rows[self.distilled[rows]][: objective.bank_texts]
        vectors = self.store.of([self.corpus.texts[i] for i in rows])
        return torch.from_numpy(vectors).to(self.device)

    def _sequences_of_pass(self, number: int) -> Sequences:
        """The texts of a pass; a share of them in another form."""
        share = self.recipe.objective.form_dropout
        if not share or self.plain.varied is None:
            return self.plain
        random = np.random.default_rng([self.seed, number, 2])
        return self.plain.mixed(random.random(len(self.plain)) < share)

    def _look_ahead(self, order: NDArray[np.int64], place: int) -> None:
        """See to it that the next texts have their teacher's vectors."""
        if self.store is None or self.rows is None:
            return
        margin = self.recipe.schedule.batch_tokens
        near = order[place : place + margin]
        if (self.rows[near[self.distilled[near]]] >= 0).all():
            return
        coming = order[place : place + max(LOOKAHEAD_TEXTS, margin)]
        coming = coming[self.distilled[coming]]
        texts = [self.corpus.texts[i] for i in coming]
        self.store.fill(texts)
        self.rows[coming] = self.store.find(texts)

    def train_step(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """One step over the texts `rows`; its losses before the step."""
        recipe, objective = self.recipe, self.recipe.objective
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(self.at.tokens, recipe.schedule)
            optimizer.zero_grad(set_to_none=True)
        step, counts = self.step_texts(rows)
        sums = self.gradients.add(step, np.arange(len(rows)), counts)
        if not all(math.isfinite(value) for value in sums):
            raise ConfigError(
                f"the loss became {sum(sums)} at step {self.at.step + 1}; lower "
                "optimizer.learning_rate "
                f"(now {recipe.optimizer.learning_rate:g}) or optimizer.matrix_learning_rate "
                f"({recipe.optimizer.matrix_learning_rate:g})"
            )
        if recipe.optimizer.clip_norm:
            torch.nn.utils.clip_grad_norm_(
                list(self.student.parameters()), recipe.optimizer.clip_norm
            )
        for optimizer in self.optimizers:
            optimizer.step()
        self.at.tokens += int(self.sequences.lengths[rows].sum())
        found = dict(zip(LOSSES, sums, strict=True))
        has_teacher = self.store is not None
        wanted = {
            "next_token": objective.lm_loss_weight > 0,
            "cosine_distance": has_teacher and objective.teacher_weight > 0,
            "similarity": has_teacher and objective.similarity_weight > 0,
            "bank": has_teacher and objective.bank_weight > 0,
        }
        return {name: value for name, value in found.items() if wanted[name]}

    def draw_positions(self, rows: NDArray[np.int64]) -> tuple[dict[int, NDArray[np.bool_]], int]:
        """For each text the positions whose next token is predicted, and how many there are in the
        step.
        """
        share = self.recipe.objective.lm_loss_share if self.recipe.objective.lm_loss_weight else 0.0
        lengths = self.sequences.lengths[rows]
        whole = np.zeros(int(lengths.sum()), dtype=bool)
        count = min(len(whole), math.ceil(share * len(whole)))
        random = np.random.default_rng([self.seed, self.at.number, self.at.place])
        whole[random.permutation(len(whole))[:count]] = True
        ends = np.cumsum(lengths)
        return {
            int(row): whole[end - length : end]
            for row, length, end in zip(rows, lengths, ends, strict=True)
        }, count

    def step_texts(self, rows: NDArray[np.int64]) -> tuple[StepTexts, Counts]:
        """The texts of a step with all that their losses need, and what their sums are divided
        by.
        """
        objective, distilled = self.recipe.objective, self.distilled[rows]
        sampled, count = self.draw_positions(rows)
        vectors = candidates = None
        if self.store is not None and self.rows is not None and objective.uses_teacher:
            vectors = self.store.vectors[self.rows[rows[distilled]]].astype(np.float32)
        if self.pieces is not None:
            seed = [self.seed, self.at.number, self.at.place, 1]
            candidates = draw(
                self.pieces, objective.frequent_pieces, objective.sampled_pieces, seed
            )
        step = StepTexts(
            [self.sequences.inputs(row) for row in rows],
            [self.sequences.targets(row) for row in rows],
            [sampled[int(row)] for row in rows],
            distilled,
            vectors,
            candidates,
        )
        return step, Counts(count, int(distilled.sum()))
