"""Texts as the model sees them: token ids, cut into windows where they are longer than the context.

A message longer than the context is scored by its windows, in training as in prediction: nothing is
cut silently. How windows become one score is windows.py's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tamis.text.tokenizer import Tokenizer
from tamis.text.windows import OVERLAP, WindowAggregation


@dataclass(frozen=True)
class EncodedTexts:
    """R texts, D of them distinct, as W windows of token ids (W = D unless a text is longer than
    the context).

    Repeats are tokenized and, where the trunk is frozen, computed once; rows are always numbers of
    the caller's R texts.
    """

    windows: tuple[NDArray[Any], ...]
    """W arrays of token ids, those of one text side by side."""
    first: NDArray[np.int64]
    """(D + 1,) index of each distinct text's first window, and W."""
    distinct_of: NDArray[np.int64]
    """(R,) for each text, its number among the distinct ones."""
    aggregation: WindowAggregation = field(default_factory=WindowAggregation)
    """How the windows of a text become one score."""

    @classmethod
    def encode(
        cls,
        texts: Sequence[str],
        tokenizer: Tokenizer,
        *,
        context: int,
        window: int | None = None,
        aggregation: WindowAggregation | None = None,
    ) -> EncodedTexts:
        """Tokenize texts.

        Args:
            texts: R texts.
            tokenizer: prepares them as the model is used to.
            context: tokens that the model takes at once; a longer text is cut into windows.
            window: tokens of a window; the context by default.
            aggregation: how the windows of a text become one score; their mean by default.
        """
        number: dict[str, int] = {}
        distinct_of = np.array(
            [number.setdefault(text, len(number)) for text in texts], dtype=np.int64
        )
        cut = [
            tokenizer.windows(ids, context, size=window, overlap=OVERLAP)
            for ids in tokenizer.encode(list(number))
        ]
        first = np.cumsum([0, *(len(parts) for parts in cut)])
        return cls(
            tuple(ids for parts in cut for ids in parts),
            first,
            distinct_of,
            aggregation or WindowAggregation(),
        )

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(W,) tokens of each window."""
        return np.array([len(ids) for ids in self.windows], dtype=np.int64)

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """(R,) tokens of each text, windows together."""
        ends = np.cumsum(np.append(0, self.lengths))[self.first]
        return np.diff(ends)[self.distinct_of]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all windows, in their order."""
        digest = hashlib.sha256(self.lengths.tobytes())
        for ids in self.windows:
            digest.update(ids.tobytes())
        return digest.hexdigest()

    def windows_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of the windows of the given texts, text by text."""
        texts = self.distinct_of[rows]
        if len(self.windows) + 1 == len(self.first):
            return texts
        return np.concatenate([np.arange(self.first[t], self.first[t + 1]) for t in texts])

    @property
    def long(self) -> list[bool]:
        """(R,) whether each text has more than one window."""
        return [bool(many) for many in (np.diff(self.first) > 1)[self.distinct_of]]

    def aggregate(self, logits: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """(windows of `rows`, K) logits -> (rows, K): one score a text, by `aggregation`."""
        return self.aggregation(logits, self._counts(rows))

    def deciding(self, logits: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(windows of `rows`, K) logits -> (rows,): each text's window that decides, counted within
        the text.
        """
        return self.aggregation.deciding(logits, self._counts(rows))

    def mean_over_windows(self, values: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """(windows of `rows`, ...) -> (rows, ...): the mean over each text's windows."""
        return WindowAggregation()(values, self._counts(rows))

    def _counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        texts = self.distinct_of[rows]
        return self.first[texts + 1] - self.first[texts]
