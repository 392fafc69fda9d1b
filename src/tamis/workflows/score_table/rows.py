"""A table as rows to score and bad rows, in the order of the file: what each reader gives, whatever
the format is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from tamis.data.files.faulty_rows import FaultyRows

MOST_ROW_CHARACTERS = 1 << 24
"""Longer rows are bad: a quote that is never closed must not bring a whole file into memory."""

Found = TypeVar("Found")


class Row(NamedTuple):
    """A row with a text. `number` counts the rows of the table from 1, bad rows included."""

    number: int
    text: str
    own: Any
    """what the writer of the same format needs to write the row's own columns unchanged"""
    size: int
    """its characters or bytes, about"""


class BadRow(NamedTuple):
    """A row that cannot be scored."""

    number: int
    line: int | None
    """1-based line of the file where it begins; None for formats without lines"""
    reason: str


@dataclass(frozen=True)
class Table:
    """An opened table."""

    format: str
    """format of the parts, and their ending: "csv", "jsonl" or "parquet" """
    columns: tuple[str, ...]
    """own columns; of JSONL those of the first rows"""
    text_column: str
    rows: Iterator[Row | BadRow]
    expected: int
    """number of rows, about"""
    notes: tuple[str, ...] = ()
    ending_notes: Callable[[], tuple[str, ...]] = tuple
    """further notes when all rows are read"""
    schema: Any = None
    """pyarrow schema of a Parquet file"""


class RowFaults(FaultyRows):
    """Faults that are handed on with their rows, not reported together."""

    def __init__(self, source: str, unit: str = "line") -> None:
        """Create an empty list."""
        super().__init__(source, unit)
        self._waiting: list[tuple[int, int, str]] = []
        self._added = 0

    def __len__(self) -> int:
        """Return 0: no fault ends the reading."""
        return 0

    def add(self, line: int, reason: str, remedy: str) -> None:
        """Add a fault of the row that begins in `line`."""
        heapq.heappush(self._waiting, (line, self._added, reason))
        self._added += 1

    def before(self, line: int | None) -> Iterator[tuple[int, str]]:
        """Take out the faults of rows before `line` (None: all), in order."""
        while self._waiting and (line is None or self._waiting[0][0] < line):
            at, _, reason = heapq.heappop(self._waiting)
            yield at, reason


def numbered(
    found: Iterable[tuple[int, Found]], faults: RowFaults
) -> Iterator[tuple[int, int, Found] | BadRow]:
    """Yield (number, line, what was found) of each row and the bad rows between them, in order.

    `found` are pairs of a line and anything; `faults` grows while they are read.
    """
    number = 0
    for line, each in found:
        for at, reason in faults.before(line):
            number += 1
            yield BadRow(number, at, reason)
        number += 1
        yield number, line, each
    for at, reason in faults.before(None):
        number += 1
        yield BadRow(number, at, reason)
