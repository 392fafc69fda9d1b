"""The choice of the text and label columns: by name, by 1-based position, else by content.

Owns the error messages that list the columns of a file; `header` decides whether it names them, and
`label_evidence` weighs columns that could all be the label.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from tamis.data.files.column_names import LABEL_NAMES, TEXT_NAMES, has_name_of, plain_name
from tamis.data.files.label_evidence import cells_of, label_candidates, likeliest, values_shown
from tamis.errors import DataError

_DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?!\d)")
_INDEX = re.compile(r"__index_level_\d+__")


class UsualColumn(str):
    """A requested column that is used if the table has it; if not, columns are detected.

    The columns that a model was trained on are usual ones: the next table may have others.
    """

    __slots__ = ()


def firm(requested: str | None) -> str | None:
    """Return the column that the table must have, None for a usual one."""
    return None if isinstance(requested, UsualColumn) else requested


def count_roles(first: Sequence[str]) -> int:
    """Count how many of the two roles, text and label, the first row names (0 to 2)."""
    return int(any(plain_name(cell) in TEXT_NAMES for cell in first)) + int(
        any(plain_name(cell) in LABEL_NAMES for cell in first)
    )


def find_text(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    source: str,
    requested: str | None,
    label: int | None = None,
) -> int:
    """Return the index of the text column.

    `rows` is a sample of the data rows; `label` is a column that is already taken.

    Raises:
        DataError: `requested` is not a column, or no column or several columns could be the text.
    """
    asked = _requested(names, requested, source, "--text")
    if asked is not None and (asked != label or firm(requested) is not None):
        return asked
    found = _by_name(names, TEXT_NAMES, taken=label)
    if len(found) == 1:
        return found[0]
    free = [column for column in _filled(names, rows) if column != label]
    if not found and free:
        if len(free) == 1:
            return free[0]
        lengths = {column: _mean_length(rows, column) for column in free}
        first, second = sorted(free, key=lambda column: -lengths[column])[:2]
        # Two columns of similar length may both be texts (a subject and a body): the user must
        # choose.
        if lengths[first] >= 1.5 * lengths[second]:
            return first
        # Identifiers, addresses and dates may be as long as texts, but have no words or few values.
        worded = [column for column in free if _has_words(rows, column)]
        if len(worded) == 1:
            return worded[0]
        called = [column for column in worded if has_name_of(names[column], TEXT_NAMES)]
        if len(called) == 1:
            return called[0]
    raise _unclear(names, source, "text", "--text")


def find_label(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    source: str,
    requested: str | None,
    text: int,
) -> int:
    """Return the index of the label column; by content, the one for which the evidence is clear:
    a few values that repeat (see `label_evidence`).

    Raises:
        DataError: `requested` is not a column or is the text column, or no column or several
            columns could be the label.
    """
    asked = _requested(names, requested, source, "--label")
    if asked is not None:
        if asked != text:
            return asked
        if firm(requested) is not None:
            raise DataError(
                f"{source}: column {requested!r} was given both as text and as label; give two "
                "different columns"
            )
    found = _by_name(names, LABEL_NAMES, taken=text)
    if len(found) == 1:
        return found[0]
    free = found or [column for column in _filled(names, rows) if column != text]
    candidates = [column for column in label_candidates(rows, free) if not _has_dates(rows, column)]
    best = likeliest(names, rows, candidates)
    if best is not None:
        return best
    raise _unclear(names, source, "label", "--label", values_shown(names, rows, candidates))


def find_both(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    source: str,
    text: str | None,
    label: str | None,
) -> tuple[int, int]:
    """Return the indices of the text and the label column.

    Raises:
        DataError: see `find_text` and `find_label`; or there is only one column.
    """
    if len(names) < 2:
        raise DataError(
            f"{source}: expected a label and a text in each row, found one column "
            f"({names[0]!r}); separate them with a comma, a semicolon or a tab"
        )
    if all(name.isdigit() for name in names) and firm(text) is None and firm(label) is None:
        # Positions say less than the content: the columns of the next file may be swapped.
        try:
            return _find_both(names, rows, source, None, None)
        except DataError:
            if text is None and label is None:
                raise
    return _find_both(names, rows, source, text, label)


def _find_both(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    source: str,
    text: str | None,
    label: str | None,
) -> tuple[int, int]:
    taken = _requested(names, label, source, "--label")
    if taken is None:
        by_name = _by_name(names, LABEL_NAMES, taken=None)
        taken = by_name[0] if len(by_name) == 1 else None
    filled = _filled(names, rows)
    if (
        text is None
        and taken is None
        and len(filled) == 2
        and not _by_name(names, TEXT_NAMES, taken=None)
    ):
        # Two columns without names: the label is the one with fewer distinct values, then the
        # shorter one.
        first, second = sorted(
            filled,
            key=lambda column: (len(set(cells_of(rows, column))), _mean_length(rows, column)),
        )
        if label_candidates(rows, [first]) and not _has_dates(rows, first):
            return second, first
        raise _unclear(names, source, "label", "--label")
    column = find_text(names, rows, source=source, requested=text, label=taken)
    return column, find_label(names, rows, source=source, requested=label, text=column)


def _by_name(names: Sequence[str], known: Sequence[str], *, taken: int | None) -> list[int]:
    found = [
        column for column, name in enumerate(names) if plain_name(name) in known and column != taken
    ]
    first = [column for column in found if plain_name(names[column]) == known[0]]
    return first if len(first) == 1 else found


def _requested(names: Sequence[str], requested: str | None, source: str, option: str) -> int | None:
    """Return the index of the requested column; None without one, or if a usual one is missing."""
    if requested is None:
        return None
    for same in (
        lambda name: name == requested,
        lambda name: plain_name(name) == plain_name(requested),
    ):
        found = [column for column, name in enumerate(names) if same(name)]
        if len(found) == 1:
            return found[0]
        if found and firm(requested) is not None:
            raise DataError(
                f"{source}: column {requested!r} occurs {len(found)} times ({_listed(names)}); "
                "rename one of them"
            )
    if firm(requested) is None:
        return None
    if requested.isdigit() and 1 <= int(requested) <= len(names):
        return int(requested) - 1
    near = difflib.get_close_matches(requested, names, n=1)
    hint = (
        f"did you mean {option} {near[0]!r}?"
        if near
        else f"choose one of them with {option} COLUMN"
    )
    raise DataError(
        f"{source}: there is no column {requested!r}; the columns are {_listed(names)}; {hint}"
    )


def _filled(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns that have a name, or values in more than half of the sample.

    Spreadsheets often leave empty columns at the end. The index of a pandas DataFrame, which is
    `__index_level_0__` in Parquet, is no column.
    """
    positional = all(name.isdigit() for name in names)
    return [
        column
        for column, name in enumerate(names)
        if not _INDEX.fullmatch(name)
        and (
            (positional or not name.isdigit())
            or 2 * sum(bool(row[column]) for row in rows if column < len(row)) > len(rows)
        )
    ]


def _mean_length(rows: Sequence[Sequence[str]], column: int) -> float:
    return sum(len(row[column]) for row in rows if column < len(row)) / max(1, len(rows))


def _has_words(rows: Sequence[Sequence[str]], column: int) -> bool:
    cells = [row[column] for row in rows if column < len(row)]
    spaced = sum(" " in cell.strip() for cell in cells)
    return (
        2 * spaced > len(cells)
        and 2 * len(set(cells)) > len(cells)
        and not _has_dates(rows, column)
    )


def _has_dates(rows: Sequence[Sequence[str]], column: int) -> bool:
    return all(_DATE.match(row[column]) for row in rows if column < len(row) and row[column])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _unclear(
    names: Sequence[str], source: str, role: str, option: str, candidates: str = ""
) -> DataError:
    found = (
        f"found several candidates: {candidates}"
        if candidates
        else ("found none or several candidates")
    )
    return DataError(
        f"{source}: expected one column that holds the {role}, {found}; "
        f"the columns are {_listed(names)}; choose one with {option} COLUMN"
    )
