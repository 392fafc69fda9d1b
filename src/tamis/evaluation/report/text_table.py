"""Text tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


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
    return "\n".join("  ".join(line).rstrip() for line in lines)
