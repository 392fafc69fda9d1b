"""Texts as token ids, laid end to end in one array: `<|endoftext|>`, the text, and `<|endoftext|>`
again where it fits whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.progress import Progress, Silent
from tamis.text.tokenizer import Tokenizer

TEXTS_AT_ONCE = 4096


@dataclass(frozen=True)
class Sequences:
    """Encoded texts."""

    flat: NDArray[np.int32]
    """ids of all texts"""
    starts: NDArray[np.int64]
    """(texts + 1,) where each begins in `flat`, and the end"""
    lengths: NDArray[np.int64]
    """(texts,) tokens that enter the network: at most the context, at least one"""
    text_bytes: NDArray[np.int64]
    """(texts,) UTF-8 bytes of the part of each text that the sequence holds"""
    varied: Sequences | None = None
    """the same texts, each in another form (form_dropout.py); None without form dropout"""

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.lengths)

    def mixed(self, chosen: NDArray[np.bool_]) -> Sequences:
        """The texts, those `chosen` (texts,) in their other form."""
        other = self if self.varied is None else self.varied
        rows = [(other if choice else self, i) for i, choice in enumerate(chosen)]
        parts = [source.flat[source.starts[i] : source.starts[i + 1]] for source, i in rows]
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        lengths = np.where(chosen, other.lengths, self.lengths)
        text_bytes = np.where(chosen, other.text_bytes, self.text_bytes)
        return Sequences(np.concatenate(parts), starts, lengths, text_bytes)

    def inputs(self, row: int) -> NDArray[np.int32]:
        """(T,) what the network reads of a text: `<|endoftext|>` and the text, as a classifier
        reads a message.
        """
        begin = self.starts[row]
        return self.flat[begin : begin + self.lengths[row]]

    def targets(self, row: int) -> NDArray[np.int32]:
        """(T,) the next token at each position; -1 at the last one of a text that was cut."""
        found = self.flat[self.starts[row] + 1 : self.starts[row + 1]]
        return found if len(found) == self.lengths[row] else np.append(found, np.int32(-1))


def encode(
    texts: Sequence[str], tokenizer: Tokenizer, context: int, progress: Progress | None = None
) -> Sequences:
    """Encode texts; what does not fit the context is cut off (`pieces.fitted` makes texts of it
    before).

    Args:
        texts: the texts.
        tokenizer: with a leading `<|endoftext|>` (`Tokenizer.prepared(begin=True)`).
        context: longest sequence in tokens.
        progress: is told about texts.
    """
    end = np.array([tokenizer.end_of_text], dtype=np.int32)
    parts: list[NDArray[np.int32]] = [end[:0]]  # so that no text at all gives an empty array
    lengths = np.empty(len(texts), dtype=np.int64)
    stored = np.empty(len(texts), dtype=np.int64)
    sizes = np.empty(len(texts), dtype=np.int64)
    with (progress or Silent()).task("encoding", total=len(texts), unit="texts") as task:
        for begin in range(0, len(texts), TEXTS_AT_ONCE):
            some = texts[begin : begin + TEXTS_AT_ONCE]
            for i, (text, ids) in enumerate(
                zip(some, tokenizer.encode(some), strict=True), start=begin
            ):
                cut = len(ids) > context
                sequence = ids[:context] if cut else np.concatenate([ids, end])
                parts.append(sequence)
                lengths[i], stored[i] = min(len(ids), context), len(sequence)
                sizes[i] = len(
                    (tokenizer.decode(ids[1:context].tolist()) if cut else text).encode()
                )
            task.advance(len(some))
    starts = np.concatenate([[0], np.cumsum(stored)])
    return Sequences(np.concatenate(parts), starts, lengths, sizes)
