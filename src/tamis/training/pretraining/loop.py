"""The pretraining loop: one step after another over passes of the corpus, the same bytes for the
same seed, on one process or many.

Every draw is a function of the seed, of the tokens seen in stages before and of the step's place,
so a resumed run needs no random state. On several processes (torchrun) each takes every n-th text
of a step, and gradients are summed: the step is the same up to rounding, except that the
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
from torch import distributed

from tamis.errors import ConfigError
from tamis.gpt2.packing import batch_by_tokens, pack
from tamis.progress import Progress, Silent
from tamis.training.pretraining.corpus import Corpus
from tamis.training.pretraining.distributed import summed
from tamis.training.pretraining.losses import Student, Targets, losses
from tamis.training.pretraining.muon import decay_begins, optimizers, rate
from tamis.training.pretraining.recipe import PretrainRecipe
from tamis.training.pretraining.sampled_softmax import by_frequency, draw
from tamis.training.pretraining.sequences import Sequences
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
        self.rank, self.world = (
            (distributed.get_rank(), distributed.get_world_size())
            if distributed.is_initialized()
            else (0, 1)
        )
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
        """See to it that the next texts have their teacher's vectors. On several processes the
        first one computes them.
        """
        if self.store is None or self.rows is None:
            return
        margin = self.recipe.schedule.batch_tokens
        near = order[place : place + margin]
        if (self.rows[near[self.distilled[near]]] >= 0).all():
            return
        coming = order[place : place + max(LOOKAHEAD_TEXTS, margin)]
        coming = coming[self.distilled[coming]]
        texts = [self.corpus.texts[i] for i in coming]
        if self.rank == 0:
            self.store.fill(texts)
        if self.world > 1:
            distributed.barrier()
            self.store.refresh()
        self.rows[coming] = self.store.find(texts)

    def train_step(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """One step over the texts `rows`; its losses before the step."""
        recipe, objective = self.recipe, self.recipe.objective
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(self.at.tokens, recipe.schedule)
            optimizer.zero_grad(set_to_none=True)
        drawn, count = self.draw_positions(rows)
        sums = torch.zeros(4, dtype=torch.float64)
        learnt = int(self.distilled[rows].sum())
        mine = rows[self.rank :: self.world]
        for part in batch_by_tokens(
            mine, self.sequences.lengths, recipe.schedule.micro_batch_tokens
        ):
            self._part(part, drawn, count, learnt, sums)
        if self.world > 1:
            for parameter in self.student.parameters():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                distributed.all_reduce(parameter.grad)
            sums = summed(sums, self.device)
        if not bool(torch.isfinite(sums).all()):
            raise ConfigError(
                f"the loss became {float(sums.sum())} at step {self.at.step + 1}; lower "
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
        names = ("next_token", "cosine_distance", "similarity", "bank")
        found = dict(zip(names, sums.tolist(), strict=True))
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

    def _part(
        self,
        rows: NDArray[np.int64],
        sampled: dict[int, NDArray[np.bool_]],
        count: int,
        texts: int,
        sums: torch.Tensor,
    ) -> None:
        """Losses and gradients of a part of a step, added to what is there."""
        objective = self.recipe.objective
        packed = pack([self.sequences.inputs(row) for row in rows])
        ordered = rows[packed.order]
        chosen = np.concatenate([sampled[int(row)] for row in ordered])
        targets = np.concatenate([self.sequences.targets(row) for row in ordered])
        chosen &= targets >= 0
        vectors = learning = candidates = None
        if self.store is not None and self.rows is not None and objective.uses_teacher:
            learning = torch.from_numpy(np.flatnonzero(self.distilled[ordered])).to(self.device)
            vectors = torch.from_numpy(
                self.store.vectors[self.rows[ordered[self.distilled[ordered]]]].astype(np.float32)
            ).to(self.device)
        if self.pieces is not None:
            seed = [self.seed, self.at.number, self.at.place, 1]
            candidates = draw(
                self.pieces, objective.frequent_pieces, objective.sampled_pieces, seed
            ).to(self.device)
        places = torch.from_numpy(np.flatnonzero(chosen)).to(self.device)
        wanted = torch.from_numpy(targets[chosen].astype(np.int64)).to(self.device)
        with torch.autocast(
            self.device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None
        ):
            found = losses(
                self.student,
                packed.to(self.device),
                Targets(places, wanted, vectors, learning, candidates, self.bank),
                temperature=objective.temperature,
                similarity=objective.similarity_weight > 0,
            )
        scaled = (
            (found.next_token, objective.lm_loss_weight, max(1, count)),
            (found.cosine_distance, objective.teacher_weight, max(1, texts)),
            (found.similarity, objective.similarity_weight, max(1, texts)),
            (found.bank, objective.bank_weight, max(1, texts)),
        )
        terms = [
            (weight * loss / n, float(loss.detach()) / n, i)
            for i, (loss, weight, n) in enumerate(scaled)
            if loss is not None
        ]
        if not terms:
            return  # long texts alone, of which only the teacher's vectors would be learnt
        torch.stack([term for term, _, _ in terms]).sum().backward()  # type: ignore[no-untyped-call]
        for _, value, i in terms:
            sums[i] += value
