"""Text tables for a terminal.

A table is as wide as its cells. The command line sets `TABLE_WIDTH` where a terminal shows it: then
wider tables wrap their cells and, if that does not suffice, are divided into tables of fewer
columns, each with the first column.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextvars import ContextVar

TABLE_WIDTH: ContextVar[int | None] = ContextVar("table_width", default=None)
"""Number of terminal columns that a table may take; None: as many as it needs."""

_GAP = 2
_LONGEST_WORD = 16
"""Longer words may be broken to make a table fit."""
_TIED = "\ue000"
"""Stands for a space inside of an interval or a percentage, at which a cell is not wrapped."""
_NUMBERS = re.compile(r"[-+]?[\d.,]+(?: %)?(?: to [-+]?[\d.,]+(?: %)?)?")

Rows = list[list[str]]


def table(rows: Sequence[Sequence[str]], *, header: Sequence[str] = ()) -> str:
    """Format rows in aligned columns. Columns that contain only numbers are right-aligned."""
    body = [list(map(str, row)) for row in rows]
    everything = [list(header), *body] if header else body
    columns = list(zip(*everything, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [
        all(row[i].replace(",", "").replace(".", "").isdigit() for row in body)
        for i in range(len(columns))
    ]
    lines = [
        [
            cell.rjust(w) if r else cell.ljust(w)
            for cell, w, r in zip(row, widths, right, strict=True)
        ]
        for row in everything
    ]
    whole = "\n".join("  ".join(line).rstrip() for line in lines)
    limit = TABLE_WIDTH.get()
    if limit is None or _width(whole) <= limit:
        return whole
    return "\n\n".join(
        _wrapped([[row[i] for i in block] for row in everything], [right[i] for i in block], limit)
        for block in _blocks(everything, limit)
    )


def _width(text: str) -> int:
    from rich.cells import cell_len  # Chinese characters take two columns

    return max(map(cell_len, text.split("\n")))


def _least_widths(rows: Rows) -> list[int]:
    return [
        max(min(_LONGEST_WORD, _width("\n".join(_tied(cell).split(" ")))) for cell in column)
        for column in zip(*rows, strict=True)
    ]


def _blocks(rows: Rows, limit: int) -> list[list[int]]:
    """Return the columns of each table: the first, and as many others as fit."""
    least = _least_widths(rows)
    blocks: list[list[int]] = [[0]]
    for column in range(1, len(least)):
        taken = sum(least[one] + _GAP for one in blocks[-1]) + least[column]
        if taken > limit and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(column)
    return blocks


def _widths(rows: Rows, limit: int) -> list[int]:
    """Return the widths of columns that together take `limit`: the widest ones lose most."""
    whole = [max(_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    least, room = _least_widths(rows), limit - _GAP * (len(whole) - 1)
    for most in range(room, 0, -1):
        widths = [min(own, max(word, most)) for own, word in zip(whole, least, strict=True)]
        if sum(widths) <= room:
            return widths
    return [max(1, room // len(whole))] * len(whole)


def _wrapped(rows: Rows, right: Sequence[bool], limit: int) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    for numbers, width in zip(right, _widths(rows, limit), strict=True):
        drawn.add_column(justify="right" if numbers else "left", overflow="fold", width=width)
    for row in rows:
        drawn.add_row(*(Text(_tied(cell)) for cell in row))
    out = io.StringIO()
    Console(file=out, width=limit + _GAP, color_system=None, force_terminal=False).print(drawn)
    lines = out.getvalue().replace(_TIED, " ").splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _tied(cell: str) -> str:
    return _NUMBERS.sub(lambda found: found[0].replace(" ", _TIED), cell)
