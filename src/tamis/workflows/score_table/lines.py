"""The lines of a text of any size, none of them longer than what a row may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from tamis.workflows.score_table.rows import MOST_ROW_CHARACTERS


class LongLine(str):
    """The beginning of a line that is too long to be a row; the rest was skipped."""

    __slots__ = ()


def bounded_lines(file: TextIO, most: int = MOST_ROW_CHARACTERS) -> Iterator[str]:
    """Yield the lines of a file with their ends; a `LongLine` in the place of each line of more
    than `most` characters. Closes the file.
    """
    read = file.readline
    with file:
        while line := read(most + 1):
            if len(line) <= most:
                yield line
                continue
            end = line
            while end and not end.endswith(("\n", "\r")):
                end = read(most)
            yield LongLine(line[:80])


def too_long(characters: int = MOST_ROW_CHARACTERS) -> tuple[str, str]:
    """Return what is wrong with a row that is too long, and what to do."""
    return (
        f"expected a row of at most {characters:,} characters, found a longer one",
        "check its quotes, or shorten it",
    )
