"""Losses and gradients of the texts of a pretraining step, in micro-batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.gpt2.packing import batch_by_tokens, pack
from tamis.training.pretraining.losses import Student, Targets, losses
from tamis.training.pretraining.recipe import ObjectiveSettings
from tamis.training.pretraining.sampled_softmax import Candidates

LOSSES = ("next_token", "cosine_distance", "similarity", "bank")
"""What is added up, in this order."""


@dataclass(frozen=True)
class StepTexts:
    """The B texts of a step, with all that their losses need."""

    inputs: list[NDArray[np.int32]]
    """of each text the tokens that the network reads, (T,)"""
    targets: list[NDArray[np.int32]]
    """of each text the next token at each position, (T,); -1 where there is none"""
    sampled: list[NDArray[np.bool_]]
    """of each text the positions whose next token is predicted, (T,)"""
    distilled: NDArray[np.bool_]
    """(B,) whether a text has a teacher's vector"""
    vectors: NDArray[np.float32] | None = None
    """(D texts, dimensions) of the distilled texts in order; None without a teacher"""
    candidates: Candidates | None = None
    """of a sampled softmax"""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(B,) tokens of each text."""
        return np.array([len(ids) for ids in self.inputs], dtype=np.int64)


@dataclass(frozen=True)
class Counts:
    """What the sums of a whole step are divided by."""

    positions: int
    """whose next token is predicted"""
    texts: int
    """with a teacher's vector"""


class PretrainingGradients:
    """Adds the gradients of texts to the weights of a student."""

    def __init__(
        self,
        student: Student,
        objective: ObjectiveSettings,
        *,
        micro_batch_tokens: int,
        autocast: torch.dtype | None = None,
        bank: torch.Tensor | None = None,
    ) -> None:
        """Use a student.

        Args:
            student: what learns.
            objective: weights of the losses.
            micro_batch_tokens: tokens of a part of a step.
            autocast: type of matrix products; None for fp32.
            bank: (M, D) the teacher's vectors of other texts, on any device.
        """
        self.student, self.objective = student, objective
        self.micro_batch_tokens, self.autocast = micro_batch_tokens, autocast
        self.device = student.trunk.wte.weight.device
        self.bank = None if bank is None else bank.to(self.device)

    def add(self, step: StepTexts, rows: NDArray[np.int64], by: Counts) -> list[float]:
        """Add the gradients of some texts of a step; return their losses, by `LOSSES`, divided."""
        sums = torch.zeros(len(LOSSES), dtype=torch.float64)
        number = np.cumsum(step.distilled) - 1  # of each distilled text among them
        for part in batch_by_tokens(rows, step.lengths, self.micro_batch_tokens):
            self._part(step, part, number, by, sums)
        return [float(value) for value in sums]

    def _part(
        self,
        step: StepTexts,
        rows: NDArray[np.int64],
        number: NDArray[np.int64],
        by: Counts,
        sums: torch.Tensor,
    ) -> None:
        """Losses and gradients of a part of a step, added to what is there."""
        objective, device = self.objective, self.device
        packed = pack([step.inputs[row] for row in rows])
        ordered = rows[packed.order]
        chosen = np.concatenate([step.sampled[row] for row in ordered])
        targets = np.concatenate([step.targets[row] for row in ordered])
        chosen = chosen & (targets >= 0)
        vectors = learning = None
        if step.vectors is not None:
            distilled = step.distilled[ordered]
            learning = torch.from_numpy(np.flatnonzero(distilled)).to(device)
            vectors = torch.from_numpy(step.vectors[number[ordered[distilled]]]).to(device)
        candidates = None if step.candidates is None else step.candidates.to(device)
        places = torch.from_numpy(np.flatnonzero(chosen)).to(device)
        wanted = torch.from_numpy(targets[chosen].astype(np.int64)).to(device)
        with torch.autocast(
            device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None
        ):
            found = losses(
                self.student,
                packed.to(device),
                Targets(places, wanted, vectors, learning, candidates, self.bank),
                temperature=objective.temperature,
                similarity=objective.similarity_weight > 0,
            )
        scaled = (
            (found.next_token, objective.lm_loss_weight, max(1, by.positions)),
            (found.cosine_distance, objective.teacher_weight, max(1, by.texts)),
            (found.similarity, objective.similarity_weight, max(1, by.texts)),
            (found.bank, objective.bank_weight, max(1, by.texts)),
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
