"""Texts as token ids, split into windows if they are longer than the context.

Training and prediction both score a long message by its windows; no text is truncated silently.
windows.py owns how the window scores become one score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.text.tokenizer import Tokenizer
from tamis.text.windows import OVERLAP, WindowAggregation

if TYPE_CHECKING:
    from torch import Tensor

BATCH_TOKENS = 1024
"""Tokens of a batch where nothing is trained: large enough for full speed, small enough for the
processor's cache."""


@dataclass(frozen=True)
class EncodedTexts:
    """R texts, D distinct, as W windows of token ids (W = D if none exceeds the context).

    Repeated texts are tokenized once and, with a frozen trunk, computed once. Row numbers always
    refer to the caller's R texts.
    """

    windows: tuple[NDArray[Any], ...]
    """W arrays of token ids; the windows of one text are adjacent."""
    first: NDArray[np.int64]
    """(D + 1,) index of each distinct text's first window, then W."""
    distinct_of: NDArray[np.int64]
    """(R,) index of each text among the distinct ones."""
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
            tokenizer: the model's tokenizer.
            context: most tokens that the model accepts; a longer text is split into windows.
            window: tokens of a window; default: `context`.
            aggregation: how the windows of a text become one score; default: the mean.
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
        """Tokens of each window, (W,)."""
        return np.array([len(ids) for ids in self.windows], dtype=np.int64)

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each text over all its windows, (R,)."""
        ends = np.cumsum(np.append(0, self.lengths))[self.first]
        return np.diff(ends)[self.distinct_of]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all windows in order."""
        digest = hashlib.sha256(self.lengths.tobytes())
        for ids in self.windows:
            digest.update(ids.tobytes())
        return digest.hexdigest()

    def windows_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indices of the windows of the given texts, text by text."""
        texts = self.distinct_of[rows]
        if len(self.windows) + 1 == len(self.first):
            return texts
        return np.concatenate([np.arange(self.first[t], self.first[t + 1]) for t in texts])

    def only(self, rows: NDArray[np.int64]) -> EncodedTexts:
        """Return the same texts without the windows of those that are not among `rows`; row numbers
        stay, and the texts that have no windows any more must not be asked for.
        """
        kept = np.unique(self.distinct_of[rows])
        place = np.full(len(self.first) - 1, len(kept), dtype=np.int64)
        place[kept] = np.arange(len(kept))
        counts = (self.first[1:] - self.first[:-1])[kept]
        windows = [w for t in kept for w in range(self.first[t], self.first[t + 1])]
        return EncodedTexts(
            tuple(self.windows[w] for w in windows),
            np.cumsum([0, *counts]),
            place[self.distinct_of],
            self.aggregation,
        )

    @property
    def long(self) -> list[bool]:
        """Return whether each text has more than one window, (R,)."""
        return [bool(many) for many in (np.diff(self.first) > 1)[self.distinct_of]]

    def aggregate(self, logits: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Aggregate the logits of the windows of `rows` to one score per text, (rows, K)."""
        return self.aggregation(logits, self._counts(rows))

    def deciding(self, logits: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index of each text's deciding window within the text, (rows,), from logits
        (windows of `rows`, K).
        """
        return self.aggregation.deciding(logits, self._counts(rows))

    def mean_over_windows(self, values: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the mean over each text's windows: (windows of `rows`, ...) to (rows, ...)."""
        return WindowAggregation()(values, self._counts(rows))

    def _counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        texts = self.distinct_of[rows]
        return self.first[texts + 1] - self.first[texts]
