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

    def __init__(self, trunk: GPT2, to_teacher: Tensor | None) -> None:
        """`to_teacher`: (D, C) first map, None without a teacher."""
        super().__init__()
        self.trunk = trunk
        self.to_teacher = None if to_teacher is None else nn.Parameter(to_teacher.clone())


@dataclass(frozen=True)
class Losses:
    """Sums over a part of a step, to be divided by what the whole step counts."""

    next_token: Tensor | None
    """summed over the drawn positions, nats"""
    cosine_distance: Tensor | None
    """1 - cosine, summed over texts"""
    similarity: Tensor | None
    """Kullback-Leibler divergence of similarities, summed over texts, nats"""


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
    student: Student,
    packed: Packed,
    sampled: Tensor,
    targets: Tensor,
    vectors: Tensor | None,
    *,
    temperature: float,
    similarity: bool,
    distilled: Tensor | None = None,
    candidates: Candidates | None = None,
) -> Losses:
    """The losses of one part of a step.

    Args:
        student: the network.
        packed: its texts.
        sampled: (P,) places in the packed batch whose next token is predicted; may be empty.
        targets: (P,) those tokens.
        vectors: (T, D) the teacher's, of length one, in packed order; None without a teacher.
        temperature: of both similarity matrices.
        similarity: whether similarities are compared.
        distilled: (T,) places in packed order of the texts that have a teacher's vector; None where
            all B have one.
        candidates: the pieces that stand for the whole vocabulary; None sums over all of it.
    """
    trunk = student.trunk
    hidden = trunk(packed)
    next_token = None
    if len(sampled):
        states = hidden.index_select(0, sampled).to(trunk.wte.weight.dtype)
        if candidates is None:
            next_token = F.cross_entropy(
                trunk.next_token_logits(states).float(), targets, reduction="sum"
            )
        else:
            next_token = candidate_cross_entropy(states, trunk.wte.weight, targets, candidates)
    if vectors is None or student.to_teacher is None or not len(vectors):
        return Losses(next_token, None, None)
    states = pooled(hidden.float(), packed)
    states = states if distilled is None else states.index_select(0, distilled)
    mapped = F.normalize(F.linear(states, student.to_teacher), dim=1)
    distance = (1.0 - (mapped * vectors).sum(1)).sum()
    return Losses(
        next_token,
        distance,
        similarity_loss(states, vectors, temperature) if similarity and len(states) > 1 else None,
    )


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
