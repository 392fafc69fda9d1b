"""Sampled softmax: sums over the frequent tokens, which hold nearly all probability, and over a
random sample of the others.

In a small network the vocabulary costs more than the blocks. Frequent tokens and the target are
summed exactly. The other tokens are sampled uniformly without replacement and weighted by how many
tokens each represents, so the softmax's sum is unbiased, and its logarithm is correct up to the
variance of the sample. With every token sampled it equals the full softmax. It is used only in
training; held-out texts use all tokens. Source: Bengio and Senecal, "Quick training of
probabilistic neural nets by importance sampling", AISTATS 2003.

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
    """The tokens that a softmax sums over."""

    pieces: Tensor
    """(K,) int64"""
    log_weight: Tensor
    """(K,) logarithm of the number of tokens that each represents"""
    column: Tensor
    """(V,) int64: index of each token among the candidates, -1 if absent"""

    def to(self, device: torch.device) -> Candidates:
        """Return the candidates on another device."""
        return Candidates(
            self.pieces.to(device), self.log_weight.to(device), self.column.to(device)
        )


def by_frequency(tokens: NDArray[np.int32], vocab_size: int) -> NDArray[np.int64]:
    """Return all token ids, (V,), most frequent in `tokens` first; equal counts by lower id."""
    return np.argsort(-np.bincount(tokens, minlength=vocab_size), kind="stable")


def draw(pieces: NDArray[np.int64], frequent: int, sampled: int, seed: list[int]) -> Candidates:
    """Return the first `frequent` of `pieces` and a sample of `sampled` others.

    Args:
        pieces: (V,) all token ids in the order of `by_frequency`.
        frequent: number of tokens that always count.
        sampled: number of other tokens to sample; all if there are no more.
        seed: seed of the sample.
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
    """Return the summed cross-entropy of the targets, in nats, over the candidates and the target.

    Args:
        states: (P, C) final hidden states.
        embeddings: (V, C) token embeddings, also the output layer.
        targets: (P,) next tokens.
        candidates: tokens to sum over.
    """
    own = (states * F.embedding(targets, embeddings)).sum(1).float()
    others = (
        F.linear(states, embeddings.index_select(0, candidates.pieces)).float()
        + candidates.log_weight
    )
    column = candidates.column[targets]
    among = torch.nonzero(column >= 0).squeeze(1)
    others[among, column[among]] = float("-inf")  # the target is counted once, as the target
    return (torch.logaddexp(torch.logsumexp(others, 1), own) - own).sum()
