"""Divides rows into parts, and the texts of a part into chunks. Each distinct text is scored once
in a part; texts of the first parts are remembered, and scored once in the table.

All of this depends on the rows alone. So a part has the same chunks, and with them the same scores,
whenever and wherever it is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tamis.workflows.score_table.engine import CHUNK_CHARACTERS, CHUNK_TEXTS, Chunk
from tamis.workflows.score_table.rows import BadRow, Row

PART_ROWS = 20_000
"""Default number of rows of a part."""
PART_CHARACTERS = 1 << 24
"""A part also ends with the row that reaches this size."""
REMEMBERED_TEXTS = 200_000
REMEMBERED_CHARACTERS = 1 << 24
"""Parts that begin after this many distinct texts, or characters in them, are not remembered."""


@dataclass(eq=False)
class Part:
    """Rows that are written to one file.

    The score of good row i is that of text `texts[i]` if it is not negative: a remembered text, of
    which those from `first_remembered` on are of this part. Otherwise it is that of this part's
    text number -1 - `texts[i]`.
    """

    number: int
    first_row: int
    own: list[Any] = field(default_factory=list)
    """of each good row, what its writer needs"""
    texts: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    """the distinct texts that are scored with this part"""
    first_remembered: int | None = None
    """the number of `new[0]` among the remembered texts; None: they are not remembered"""
    empty: int = 0
    """good rows with a text of white space alone"""

    @property
    def rows(self) -> int:
        """Number of rows, bad ones included."""
        return len(self.texts) + len(self.bad)

    def needs(self) -> int:
        """Return how many remembered texts of earlier parts must be scored before this part can be
        written.
        """
        limit = self.first_remembered
        earlier = (text for text in self.texts if text >= 0 and (limit is None or text < limit))
        return 1 + max(earlier, default=-1)

    def chunks(self) -> list[Chunk]:
        """Return the chunks of this part."""
        cut: list[tuple[str, ...]] = []
        held: list[str] = []
        characters = 0
        for text in self.new:
            held.append(text)
            characters += len(text)
            if len(held) == CHUNK_TEXTS or characters >= CHUNK_CHARACTERS:
                cut.append(tuple(held))
                held, characters = [], 0
        if held:
            cut.append(tuple(held))
        return [Chunk(self.number, place, texts) for place, texts in enumerate(cut)]


class _Remembered:
    """Texts of the first parts, by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.characters = 0

    def is_full(self) -> bool:
        return len(self.numbers) >= REMEMBERED_TEXTS or self.characters >= REMEMBERED_CHARACTERS


def cut_parts(rows: Iterable[Row | BadRow], part_rows: int = PART_ROWS) -> Iterator[Part]:
    """Yield the parts of a table; the last one may be small. A table without rows has one part."""
    known = _Remembered()
    part: Part | None = None
    number, size = 0, 0
    texts: dict[str, int] = {}
    teaches = True
    for row in rows:
        if part is None:
            part, size, texts = Part(number, row.number), 0, {}
            teaches = not known.is_full()
            part.first_remembered = len(known.numbers) if teaches else None
        if isinstance(row, BadRow):
            part.bad.append(row)
        else:
            size += row.size
            part.own.append(row.own)
            part.texts.append(_number_of(row.text, part, known, texts, teaches=teaches))
            part.empty += not row.text.strip()
        if part.rows == part_rows or size >= PART_CHARACTERS:
            yield part
            part, number = None, number + 1
    if part is not None:
        yield part
    elif number == 0:
        yield Part(0, 1)


def _number_of(
    text: str, part: Part, known: _Remembered, texts: dict[str, int], *, teaches: bool
) -> int:
    """Return the number of a text as `Part` has it; a new text is added."""
    remembered = known.numbers.get(text)
    if remembered is not None:
        return remembered
    if teaches:
        known.numbers[text] = found = len(known.numbers)
        known.characters += len(text)
        part.new.append(text)
        return found
    own = texts.setdefault(text, len(texts))
    if own == len(part.new):
        part.new.append(text)
    return -1 - own


def rows_by_chunk(part: Part, chunks: Sequence[Chunk]) -> list[int]:
    """Return the rows of a part divided among its chunks by their texts, for progress."""
    total = max(1, sum(len(chunk.texts) for chunk in chunks))
    done, shares = 0, []
    for chunk in chunks:
        texts = len(chunk.texts)
        share = (done + texts) * part.rows // total - done * part.rows // total
        shares.append(share)
        done += texts
    return shares
