"""Encode texts for one model: tokenizer, context, window size, and the rule that combines the
scores of windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer
from tamis.text.windows import OVERLAP, WindowAggregation


@dataclass(frozen=True)
class TextEncoder:
    """How one model reads texts."""

    tokenizer: Tokenizer
    context: int
    """Tokens that the model takes at once; a longer text is cut into windows."""
    window: int | None = None
    """Tokens of a window; None: the context."""
    aggregation: WindowAggregation = field(default_factory=WindowAggregation)
    """How the windows of a text become one score."""

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Return N texts as windows of token ids.

        Raises:
            DataError: a text is not valid Unicode.
        """
        return EncodedTexts.encode(
            texts,
            self.tokenizer,
            context=self.context,
            window=self.window,
            aggregation=self.aggregation,
        )

    def with_penalty(self, penalty: float) -> TextEncoder:
        """Return the encoder with another penalty for many windows."""
        return replace(self, aggregation=replace(self.aggregation, penalty=penalty))

    def window_spans(self, tokens: int) -> list[tuple[int, int]]:
        """Return the (first, stop) tokens of each window of a text with this number of tokens; one
        window if it fits the context.
        """
        return self.tokenizer.window_spans(tokens, self.context, size=self.window, overlap=OVERLAP)

    def windows(self, ids: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        """Return the token ids of one text by window."""
        return self.tokenizer.windows(ids, self.context, size=self.window, overlap=OVERLAP)
