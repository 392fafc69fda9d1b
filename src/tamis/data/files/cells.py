"""Rows of cells, and cells as strings: what messages show, and what evidence is found in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SHOWN_CHARACTERS = 40
"""Characters of a cell that messages show."""


class Row(NamedTuple):
    """The number of a row (a 1-based line or row of the file), and its cells as in the file."""

    line: int
    cells: Sequence[object]


def shown_cells(cells: Sequence[object]) -> list[str]:
    """Return cells as strings: nothing as "", truths as true and false, 2.0 as 2."""
    return [shown_cell(cell) for cell in cells]


def shown_cell(value: object) -> str:
    """Return a value as a string; see `shown_cells`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def trimmed(cells: Sequence[object]) -> Sequence[object]:
    """Return the cells up to the last one that is not empty."""
    end = len(cells)
    while end and is_empty(cells[end - 1]):
        end -= 1
    return cells[:end]


def is_empty(cell: object) -> bool:
    """Return whether a cell is nothing or white space."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def quoted(cells: Sequence[str]) -> str:
    """Return cells for a message: in quotes, long ones cut."""
    return ", ".join(
        repr(cell if len(cell) <= SHOWN_CHARACTERS else f"{cell[:SHOWN_CHARACTERS]}...")
        for cell in cells
    )
