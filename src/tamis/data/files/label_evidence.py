"""Which of several columns is the label: weighed by its name and its number of values.

A label has a few values that repeat. So have other columns, such as a sender, a channel or an id
of 1,500 values. The weight of a column is the logarithm of an odds ratio: from its name, and from
1 / (number of values). The best one counts only if it is clearly better than the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from tamis.data.files.column_names import LABEL_NAMES, has_name_of, names_something_else

_LABEL_CHARACTERS = 64
_SURE_ROWS = 10
_SHOWN_VALUES = 3
_CLEAR = log(20)
"""Two values against 40. A column of 2 values beside one of 20 may be a flag beside topics."""
_CALLED, _CALLED_OTHERWISE = 4.0, -3.0
"""Weights of a name with the word of a label in it, and of a name that says something else."""

Rows = Sequence[Sequence[str]]


def cells_of(rows: Rows, column: int) -> list[str]:
    """Return the values of a column that are not empty."""
    return [row[column] for row in rows if column < len(row) and row[column].strip()]


def label_candidates(rows: Rows, columns: Sequence[int]) -> list[int]:
    """Return the columns that could be labels: short values that repeat, more than one of them.

    Columns of a single value count only if there are no others.
    """
    likely = [column for column in columns if _looks_like_label(rows, column)]
    return [column for column in likely if len(set(cells_of(rows, column))) > 1] or likely


def likeliest(names: Sequence[str], rows: Rows, candidates: Sequence[int]) -> int | None:
    """Return the candidate that is clearly more likely than all others; None if there is none."""
    weighed = sorted(
        ((_weight(names[column], cells_of(rows, column)), column) for column in candidates),
        reverse=True,
    )
    if not weighed:
        return None
    if len(weighed) == 1 or weighed[0][0] - weighed[1][0] >= _CLEAR:
        return weighed[0][1]
    return None


def values_shown(names: Sequence[str], rows: Rows, candidates: Sequence[int]) -> str:
    """Return the candidates with their first values, for messages."""
    shown = []
    for column in candidates:
        values = sorted(set(cells_of(rows, column)))
        more = f" and {len(values) - _SHOWN_VALUES:,} more" if len(values) > _SHOWN_VALUES else ""
        shown.append(f"{names[column]!r} ({', '.join(values[:_SHOWN_VALUES])}{more})")
    return ", ".join(shown)


def _weight(name: str, cells: Sequence[str]) -> float:
    called = _CALLED if has_name_of(name, LABEL_NAMES) else 0.0
    otherwise = _CALLED_OTHERWISE if not called and names_something_else(name) else 0.0
    return called + otherwise - log(max(1, len(set(cells))))


def _looks_like_label(rows: Rows, column: int) -> bool:
    cells = cells_of(rows, column)
    if not cells or 2 * len(cells) < len(rows):
        return False
    repeated = len(set(cells)) * 2 <= len(rows) or len(rows) < _SURE_ROWS
    return repeated and all(len(cell) <= _LABEL_CHARACTERS for cell in cells)
