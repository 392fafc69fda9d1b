"""Batches of an ONNX graph: texts of similar lengths, padded on the right. Imports no torch.

Shapes: W windows of token ids, B texts of at most T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]
Integers = NDArray[np.int64]


def padded_batches(lengths: Integers, most_tokens: int) -> Iterator[Integers]:
    """Yield row numbers in batches of at most `most_tokens` tokens, padding to the longest row
    included, longest first. A row longer than that is a batch by itself.
    """
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        rows = max(1, most_tokens // int(lengths[order[begin]]))
        yield order[begin : begin + rows]
        begin += rows


def padded(texts: Sequence[Ids]) -> tuple[Integers, Integers]:
    """Return (B, T) token ids, zero behind the end of a text, and the (B, T) mask of its tokens."""
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    mask = np.arange(lengths.max()) < lengths[:, None]
    found = np.zeros(mask.shape, dtype=np.int64)
    found[mask] = np.concatenate(texts)
    return found, mask.astype(np.int64)
