"""A softmax over part of the vocabulary: the frequent pieces, which hold nearly all of the sum, and
a draw that stands for the rest.

For a small network the vocabulary costs more than the blocks. The frequent pieces are summed
exactly, the target always, and of the rest a uniform draw without replacement, each piece weighed
by how many it stands for: the softmax's sum is right in expectation, its logarithm up to the draw's
variance. With every piece drawn it is the plain softmax. Only training sums like this; held-out
texts are measured over all pieces. Source: Bengio and Senecal, "Quick training of probabilistic
neural nets by importance sampling", AISTATS 2003.

Shapes: P predicted positions, C channels, V vocabulary, K candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Candidates:
    """The pieces that a softmax sums over."""

    pieces: Tensor
    """(K,) int64"""
    log_weight: Tensor
    """(K,) logarithm of how many pieces each stands for"""
    column: Tensor
    """(V,) int64: a piece's place among the candidates, -1 for none"""

    def to(self, device: torch.device) -> Candidates:
        """The same on another device."""
        return Candidates(
            self.pieces.to(device), self.log_weight.to(device), self.column.to(device)
        )


def by_frequency(tokens: NDArray[np.int32], vocab_size: int) -> NDArray[np.int64]:
    """(V,) all pieces, the most frequent of `tokens` first, the lower id first among equals."""
    return np.argsort(-np.bincount(tokens, minlength=vocab_size), kind="stable")


def draw(pieces: NDArray[np.int64], frequent: int, sampled: int, seed: list[int]) -> Candidates:
    """The first `frequent` of `pieces` and `sampled` of the others.

    Args:
        pieces: (V,) all pieces in the order of `by_frequency`.
        frequent: how many always count.
        sampled: how many of the rest are drawn; all, where there are no more.
        seed: of the draw.
    """
    rest = len(pieces) - min(frequent, len(pieces))
    sampled = min(sampled, rest)
    chosen = pieces[len(pieces) - rest :][np.random.default_rng(seed).permutation(rest)[:sampled]]
    found = np.concatenate([pieces[: len(pieces) - rest], np.sort(chosen)])
    log_weight = np.zeros(len(found), dtype=np.float32)
    if sampled:
        log_weight[len(found) - sampled :] = math.log(rest / sampled)
    column = np.full(len(pieces), -1, dtype=np.int64)
    column[found] = np.arange(len(found))
    return Candidates(
        torch.from_numpy(found), torch.from_numpy(log_weight), torch.from_numpy(column)
    )


def candidate_cross_entropy(
    states: Tensor, embeddings: Tensor, targets: Tensor, candidates: Candidates
) -> Tensor:
    """The summed cross-entropy of the targets, in nats, over the candidates and the target itself.

    Args:
        states: (P, C) final hidden states.
        embeddings: (V, C) token embeddings, which are the output layer too.
        targets: (P,) the next tokens.
        candidates: what is summed over.
    """
    own = (states * F.embedding(targets, embeddings)).sum(1).float()
    others = (
        F.linear(states, embeddings.index_select(0, candidates.pieces)).float()
        + candidates.log_weight
    )
    column = candidates.column[targets]
    among = torch.nonzero(column >= 0).squeeze(1)
    others[among, column[among]] = float("-inf")  # the target counts once, as itself
    return (torch.logaddexp(torch.logsumexp(others, 1), own) - own).sum()
