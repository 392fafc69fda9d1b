"""The losses of pretraining: the next token, and the teacher's vector of the same text.

Shapes: N tokens of a packed batch, B texts, C channels, D dimensions of the teacher, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.gpt2.model import GPT2
from tamis.gpt2.packing import Packed
from tamis.training.pretraining.sampled_softmax import Candidates, candidate_cross_entropy


class Student(nn.Module):
    """A GPT-2 that learns; `to_teacher` maps its pooled states to the teacher's space and is not
    part of what is kept.
    """

    to_teacher: Tensor | None

    def __init__(self, trunk: GPT2, to_teacher: Tensor | None, *, learn_map: bool = True) -> None:
        """`to_teacher`: (D, C) first map, None without a teacher; it is trained if `learn_map`."""
        super().__init__()
        self.trunk = trunk
        if to_teacher is None or not learn_map:
            self.register_buffer("to_teacher", to_teacher)
        else:
            self.to_teacher = nn.Parameter(to_teacher.clone())


@dataclass(frozen=True)
class Targets:
    """The training targets of one part of a step."""

    sampled: Tensor
    """(P,) places in the packed batch whose next token is predicted; may be empty"""
    next_tokens: Tensor
    """(P,) the tokens that follow them"""
    vectors: Tensor | None = None
    """(T, D) the teacher's vectors, of length one, in packed order; None without a teacher"""
    distilled: Tensor | None = None
    """(T,) places in packed order of the texts that have a teacher's vector; None if all have"""
    candidates: Candidates | None = None
    """the pieces of a sampled softmax; None sums over the whole vocabulary"""
    bank: Tensor | None = None
    """(M, D) the teacher's vectors of other texts, of length one; None without a bank"""


@dataclass(frozen=True)
class Losses:
    """Sums over a part of a step, to be divided by the counts of the whole step."""

    next_token: Tensor | None = None
    """summed over the sampled positions, nats"""
    cosine_distance: Tensor | None = None
    """1 - cosine, summed over texts"""
    similarity: Tensor | None = None
    """Kullback-Leibler divergence of the similarities inside the part, summed over texts, nats"""
    bank: Tensor | None = None
    """Kullback-Leibler divergence of the similarities to the bank, summed over texts, nats"""


def pooled(hidden: Tensor, packed: Packed) -> Tensor:
    """(N, C) final hidden states -> (B, C) in packed order: what a classifier's head reads behind
    the pooling block.

    LN(mean over tokens of ln_f(h)), the limit of `MeanPoolingBlock` for a large factor (tests hold
    the two together).
    """
    means = torch.cat(
        [
            part.view(g.rows, g.length, -1).mean(1)
            for part, g in zip(packed.split(hidden), packed.groups, strict=True)
        ]
    )
    return F.layer_norm(means, means.shape[-1:])


def losses(
    student: Student, packed: Packed, targets: Targets, *, temperature: float, similarity: bool
) -> Losses:
    """The losses of one part of a step.

    Args:
        student: the network.
        packed: its texts.
        targets: the training targets.
        temperature: of all similarities.
        similarity: whether the similarities inside the part are compared.
    """
    trunk = student.trunk
    hidden = trunk(packed)
    next_token = None
    if len(targets.sampled):
        states = hidden.index_select(0, targets.sampled).to(trunk.wte.weight.dtype)
        if targets.candidates is None:
            logits = trunk.next_token_logits(states).float()
            next_token = F.cross_entropy(logits, targets.next_tokens, reduction="sum")
        else:
            next_token = candidate_cross_entropy(
                states, trunk.wte.weight, targets.next_tokens, targets.candidates
            )
    vectors = targets.vectors
    if vectors is None or student.to_teacher is None or not len(vectors):
        return Losses(next_token)
    states = pooled(hidden.float(), packed)
    states = states if targets.distilled is None else states.index_select(0, targets.distilled)
    mapped = F.normalize(F.linear(states, student.to_teacher).float(), dim=1)
    return Losses(
        next_token,
        (1.0 - (mapped * vectors).sum(1)).sum(),
        similarity_loss(states, vectors, temperature) if similarity and len(states) > 1 else None,
        None if targets.bank is None else bank_loss(mapped, vectors, targets.bank, temperature),
    )


def bank_loss(mapped: Tensor, vectors: Tensor, bank: Tensor, temperature: float) -> Tensor:
    """Summed KL(teacher's similarities || student's) of each text to a fixed set of other texts.

    A part of a step holds a hundred texts, few of them similar; a bank of thousands holds similar
    ones for every text. Source: Fang et al., "SEED: Self-supervised distillation for visual
    representation" (ICLR 2021); here the bank is fixed.

    Args:
        mapped: (B, D) pooled states in the teacher's space, of length one.
        vectors: (B, D) the teacher's vectors of the same texts.
        bank: (M, D) the teacher's vectors of other texts.
        temperature: of both similarities.
    """
    expected = (vectors @ bank.T / temperature).log_softmax(1)
    own = ((mapped @ bank.T).float() / temperature).log_softmax(1)
    return F.kl_div(own, expected, reduction="sum", log_target=True)


def similarity_loss(states: Tensor, vectors: Tensor, temperature: float) -> Tensor:
    """Summed KL(teacher's similarities || pupil's) over texts: each text's softmax over all others
    of the part.

    Args:
        states: (B, C) pooled states.
        vectors: (B, D) of length one.
        temperature: of both.
    """
    own = F.normalize(states, dim=1)
    itself = torch.eye(len(own), dtype=torch.bool, device=own.device)
    pupil = (own @ own.T / temperature).masked_fill(itself, float("-inf"))
    teacher = (vectors @ vectors.T / temperature).masked_fill(itself, float("-inf"))
    wanted = teacher.log_softmax(1)
    gap = (wanted - pupil.log_softmax(1)).masked_fill(itself, 0.0)
    return (wanted.exp() * gap).sum()
