"""Texts longer than the context in training: window size, BPE-dropout per epoch, and the penalty
for many windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tamis.decision.window_penalty import concatenate_negatives, penalty
from tamis.head.result import Rows
from tamis.text.bpe_dropout import DroppedMerges
from tamis.text.encoder import TextEncoder
from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer
from tamis.text.windows import OVERLAP, WindowAggregation, size_for

MOST_LONG = 0.01
"""Share of training texts longer than the context from which on the penalty for many windows stays
at the 1 that they were learnt with."""


def window_size(tokenizer: Tokenizer, texts: Sequence[str], context: int) -> int:
    """Return the tokens of a window, by the lengths of the training texts."""
    return size_for(np.array([len(ids) for ids in tokenizer.encode(texts)]), context)


def retokenizer(
    encoder: TextEncoder, texts: Sequence[str], *, dropout: float, seed: int
) -> Callable[[int], EncodedTexts] | None:
    """Return a function that encodes the texts for an epoch (from 0) with BPE-dropout; None without
    dropout.

    Args:
        encoder: the usual encoder.
        texts: all texts of the training set.
        dropout: share of the merges that are dropped.
        seed: random seed.
    """
    if not dropout:
        return None
    dropped = DroppedMerges(encoder.tokenizer, dropout, seed)
    return lambda epoch: replace(encoder, tokenizer=dropped.of_epoch(epoch)).encode(texts)


class ConcatenatedNegatives:
    """Windows of long texts that are concatenated from the negatives among some training rows."""

    def __init__(
        self, texts: Sequence[str], negative: NDArray[np.bool_], encoder: TextEncoder, *, seed: int
    ) -> None:
        """`negative` (R,) marks the negatives among the R texts; `encoder` has a window size."""
        self._texts, self._negative, self._encoder, self._seed = texts, negative, encoder, seed

    def __call__(self, rows: Rows) -> EncodedTexts:
        """Return the windows of the negatives among `rows`, each as a text of its own."""
        negatives = rows[self._negative[rows]]
        long = concatenate_negatives([self._texts[row] for row in negatives.tolist()], self._seed)
        tokenizer, window = self._encoder.tokenizer, self._encoder.window
        assert window is not None, "the window size comes first"
        cut = [tokenizer.windows(ids, window, overlap=OVERLAP) for ids in tokenizer.encode(long)]
        windows = tuple(window for parts in cut for window in parts)
        return EncodedTexts(windows, np.arange(len(windows) + 1), np.arange(len(windows)))


def learn_penalty(
    windows: NDArray[np.float64],
    positives: NDArray[np.float64],
    aggregation: WindowAggregation,
    threshold: float | None,
) -> float | None:
    """Return the penalty for many windows from calibrated logits; None if it cannot be learnt.

    Args:
        windows: (V, 2) logits of windows of concatenated negatives.
        positives: (P, 2) logits of held-out positive rows.
        aggregation: contains the number of the positive class.
        threshold: probability of the positive class from which a text is positive.
    """
    place = aggregation.positive
    if place is None or not threshold or threshold >= 1:
        return None
    cut = np.log(threshold / (1 - threshold))
    negative, positive = (
        logits[:, place] - logits[:, 1 - place] - cut for logits in (windows, positives)
    )
    return penalty(negative, positive)
