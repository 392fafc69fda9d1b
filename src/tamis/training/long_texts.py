"""Texts longer than the context in training: the size of their windows, and the penalty for many
windows, learnt from concatenated negatives.
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
    """Tokens of a window, by the lengths of the training texts."""
    return size_for(np.array([len(ids) for ids in tokenizer.encode(texts)]), context)


def retokenizer(
    encoder: TextEncoder, texts: Sequence[str], *, dropout: float, seed: int
) -> Callable[[int], EncodedTexts] | None:
    """Gives the texts as a training epoch, numbered from 0, reads them under BPE-dropout; None
    without dropout.

    Args:
        encoder: encodes them as usual.
        texts: all texts of the training set.
        dropout: share of the merges left out.
        seed: of the draws.
    """
    if not dropout:
        return None
    dropped = DroppedMerges(encoder.tokenizer, dropout, seed)
    return lambda epoch: replace(encoder, tokenizer=dropped.of_epoch(epoch)).encode(texts)


class ConcatenatedNegatives:
    """Windows of long texts, concatenated from the negatives among some training rows."""

    def __init__(
        self, texts: Sequence[str], negative: NDArray[np.bool_], encoder: TextEncoder, *, seed: int
    ) -> None:
        """`negative` (R,) marks those of the R texts; `encoder` has a window size; `seed` of the
        order.
        """
        self._texts, self._negative, self._encoder, self._seed = texts, negative, encoder, seed

    def __call__(self, rows: Rows) -> EncodedTexts:
        """The windows, each a text of its own, of the negatives among `rows`."""
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
    """The penalty for many windows from calibrated logits; None where it cannot be learnt.

    Args:
        windows: (V, 2) of windows of concatenated negatives.
        positives: (P, 2) of held-out positive rows.
        aggregation: has the number of the positive class.
        threshold: probability of the positive class from which on a text is positive.
    """
    place = aggregation.positive
    if place is None or not threshold or threshold >= 1:
        return None
    cut = np.log(threshold / (1 - threshold))
    negative, positive = (
        logits[:, place] - logits[:, 1 - place] - cut for logits in (windows, positives)
    )
    return penalty(negative, positive)
