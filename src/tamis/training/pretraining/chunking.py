"""Splits texts longer than the context into chunks, so that every token is trained on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tamis.progress import Progress, Silent
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.corpus import Corpus

_AT_ONCE = 1024


def fitted(
    corpus: Corpus, tokenizer: Tokenizer, context: int, progress: Progress | None = None
) -> Corpus:
    """Return the corpus with its texts split to the context; unchanged if no text is longer.

    Each chunk then counts as a text: it begins with `<|endoftext|>`, has its own position in a
    pass, and its own teacher vector, so the teacher sees exactly what the student sees. Chunks
    replace their text in place, so order and draws depend only on the seed.

    Args:
        corpus: the texts, including held-out ones.
        tokenizer: a tokenizer that adds a leading `<|endoftext|>`
            (`Tokenizer.prepared(add_bos=True)`).
        context: longest sequence in tokens.
        progress: progress callback, counts texts.
    """
    texts, source = _cut_all(corpus.texts, corpus.source, tokenizer, context, progress)
    held_out, held_out_source = _cut_all(
        corpus.held_out, corpus.held_out_source, tokenizer, context, None
    )
    if (len(texts), len(held_out)) == (len(corpus.texts), len(corpus.held_out)):
        return corpus
    numbers = (
        np.bincount(source, minlength=len(corpus.names)),
        np.bincount(held_out_source, minlength=len(corpus.names)),
    )
    counts = {
        name: replace(found, texts=int(numbers[0][i]), held_out=int(numbers[1][i]))
        for i, name in enumerate(corpus.names)
        if (found := corpus.counts.get(name)) is not None
    }
    return Corpus(texts, source, held_out, held_out_source, corpus.names, corpus.times, counts)


def _cut_all(
    texts: Sequence[str],
    source: NDArray[np.int16],
    tokenizer: Tokenizer,
    context: int,
    progress: Progress | None,
) -> tuple[list[str], NDArray[np.int16]]:
    # A token has at least one byte, so a text of few bytes fits without encoding it.
    long = [
        i
        for i, text in enumerate(texts)
        if len(text) >= context / 4 and len(text.encode()) >= context
    ]
    pieces: dict[int, list[str]] = {}
    with (progress or Silent()).task("cutting", total=len(long), unit="texts") as task:
        for begin in range(0, len(long), _AT_ONCE):
            some = long[begin : begin + _AT_ONCE]
            pieces |= zip(
                some, cut_to_context([texts[i] for i in some], tokenizer, context), strict=True
            )
            task.advance(len(some))
    found = [pieces.get(i, [text]) for i, text in enumerate(texts)]
    return [piece for part in found for piece in part], np.repeat(
        source, [len(part) for part in found]
    )


def cut_to_context(texts: Sequence[str], tokenizer: Tokenizer, context: int) -> list[list[str]]:
    """Split texts into chunks of at most `context` tokens, with the leading `<|endoftext|>`.

    Chunks have about equal lengths and end between words, or between characters if a word is longer
    than half a chunk. Only white space at their ends is removed.
    """
    head, found = int(tokenizer.begins), []
    for text, encoded in zip(texts, tokenizer.backend.encode_batch(list(texts)), strict=True):
        parts = [text]
        if len(encoded.ids) > context:
            begins = [first for first, _ in encoded.offsets[head:]]
            parts = [part for part in _cut(text, begins, context - head) if part]
        # A chunk without its neighbours may be tokenized differently, into more tokens.
        again = cut_to_context(parts, tokenizer, context) if len(parts) > 1 else [parts]
        found.append([piece for part in again for piece in part])
    return found


def _cut(text: str, begins: Sequence[int], room: int) -> list[str]:
    """Split a text into chunks of at most `room` tokens.

    `begins`: the character at which, or inside which, each token begins.
    """
    parts: list[str] = []
    start = 0
    while start < len(begins):
        left = len(begins) - start
        stop = start + -(-left // -(-left // room))
        if stop < len(begins):
            words = (
                place
                for place in range(stop, start + (stop - start) // 2, -1)
                if text[begins[place]].isspace()
            )
            stop = next(words, stop)
            while (
                stop < len(begins) and begins[stop] == begins[start]
            ):  # a single character may be several tokens
                stop += 1
        end = begins[stop] if stop < len(begins) else len(text)
        parts.append(text[begins[start] : end].strip())
        start = bisect_left(
            begins, end
        )  # earlier than `stop` if that token begins inside a character
    return parts
