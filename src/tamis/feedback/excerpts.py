"""Short forms of texts for a list of corrections, long enough to tell the texts apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_FEWEST = 24
"""Fewest characters shown around the place where two texts begin to differ."""
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def excerpts(texts: Sequence[str], characters: int) -> list[str]:
    """Return the beginning of each text, on one line.

    Texts with the same beginning also show the place where they differ: `beginning … difference`.
    White space is one space, and other control characters are escaped.

    Args:
        texts: any texts; an empty one is shown as `(empty)`.
        characters: most characters of an excerpt, at least 32 are used.
    """
    most = max(characters, 32)
    lines = [" ".join(text.split()).translate(_ESCAPES) for text in texts]
    # A text differs most lately from its neighbours in the sorted list.
    order = sorted(set(lines))
    shared = dict.fromkeys(order, 0)
    for one, other in pairwise(order):
        common = _common(one, other)
        shared[one], shared[other] = max(shared[one], common), max(shared[other], common)
    return [_excerpt(line, shared[line], most) for line in lines]


def _common(one: str, other: str) -> int:
    """Number of characters that two texts begin with."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def _excerpt(line: str, shared: int, most: int) -> str:
    if not line:
        return "(empty)"
    if len(line) <= most:
        return line
    if shared < most - 2:
        return f"{line[: most - 1]}…"
    tail = max(_FEWEST, most // 2)
    start = max(0, min(shared - 6, len(line) - tail))
    end = "" if start + tail >= len(line) else "…"
    return f"{line[: most - tail - 4]} … {line[start : start + tail]}{end}"
