"""Rows of cells as columns with names: which row is the header.

Serves delimited text and Excel sheets, and tables to train on as well as messages to classify.
`row_check` decides which of the other rows are rows of the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

from tamis.data.files.cells import Row, is_empty, quoted, shown_cells, trimmed
from tamis.data.files.columns import count_roles
from tamis.data.files.counted_rows import Counted
from tamis.data.files.faulty_rows import FaultyRows
from tamis.data.files.header import Reading, reading_of
from tamis.data.files.row_check import RowCheck, Source
from tamis.errors import DataError

SAMPLE_ROWS = 1_000


@dataclass
class NamedRows:
    """Columns and rows; the rows are read one at a time. `counted` grows while they are read.

    A row may have fewer cells than there are names, never more.
    """

    names: tuple[str, ...]
    has_header: bool
    sample: list[Row]
    """Rows at the beginning, all without a fault; `rows` yields them as well."""
    rows: Iterator[Row]
    faults: FaultyRows
    notes: tuple[str, ...]
    counted: Counted


def named_rows(
    rows: Iterable[Row],
    source: Source,
    *,
    named: Sequence[str] = (),
    header: bool | None = None,
    sample_rows: int | None = SAMPLE_ROWS,
) -> NamedRows:
    """Find the header of `rows`.

    Args:
        rows: from the first row of the file on.
        source: for messages.
        named: columns that the user requested; they help to recognize a header.
        header: whether the first row is a header; None: decided by its content.
        sample_rows: rows that are read for the decision, and held in memory; None: all.

    Raises:
        DataError: there are no rows, or the first row could be a header or not.
    """
    counted = Counted(source.name, source.unit)
    faults = source.faults
    if faults is None:
        faults = FaultyRows(source.name, source.unit, at_once=source.at_once)
    rest = iter(rows)
    held = _without_blank_lines(list(islice(_filled(rest, counted), sample_rows)), counted)
    if not held:
        raise DataError(
            f"{source.name}: expected rows, found an empty file; give a table with a text in each "
            "row"
        )
    head, below = held[0], held[1:]
    first = shown_cells(head.cells)
    notes: tuple[str, ...] = ()
    has_header = header
    if has_header is None:
        has_header = _names_columns(head, below, source, named)
        if has_header and not count_roles(first) and not set(named) & set(first):
            notes = (
                f"{source.name} {source.unit} {head.line} was read as the names of the columns "
                f"({quoted(first)}); if it is a message, use --no-header.",
            )
    if not has_header:
        width = Counter(len(row.cells) for row in held).most_common(1)[0][0]
        names: tuple[str, ...] = tuple(str(position) for position in range(1, width + 1))
        data = held
    else:
        names, data = header_names(first), below
        if _has_row_names(names, below):
            names = header_names(["", *first])
    check = RowCheck(names, source, counted, faults, data if header is not False else None)
    check.has_header = has_header
    checked = [row for each in data for row in check(each)]

    def following() -> Iterator[Row]:
        for each in _filled(rest, counted):
            yield from check(each)

    return NamedRows(
        names, has_header, checked, chain(checked, following()), faults, notes, counted
    )


def header_names(head: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a header line; a column without a name gets its 1-based position."""
    taken = set(head)
    return tuple(
        name.strip("\ufeff")
        if name.strip()
        else f"unnamed_{position}"
        if str(position) in taken
        else str(position)
        for position, name in enumerate(head, 1)
    )


def _filled(rows: Iterable[Row], counted: Counted) -> Iterator[Row]:
    """Yield the rows that have a value, and single cells: an empty text in the only column."""
    for row in rows:
        if len(row.cells) > 1 and all(map(is_empty, row.cells)):
            counted.add("blank", row.line)
        else:
            yield row


def _without_blank_lines(rows: list[Row], counted: Counted) -> list[Row]:
    """Return the rows without lines of white space, which are empty texts in a single column."""
    if all(len(row.cells) <= 1 for row in rows):
        return rows
    kept: list[Row] = []
    for row in rows:
        if all(map(is_empty, row.cells)):
            counted.add("blank", row.line)
        else:
            kept.append(row)
    return kept


def _has_row_names(names: Sequence[str], rows: Sequence[Row]) -> bool:
    """Return whether each row has one cell more than the header, and that is its number.

    R's write.table gives no name to the column of row numbers.
    """
    numbers = [str(row.cells[0]) for row in rows if len(row.cells) == len(names) + 1]
    return (
        bool(numbers)
        and len(numbers) == len(rows)
        and any(not is_empty(row.cells[-1]) for row in rows)
        and all(number.isdecimal() for number in numbers)
        and all(int(one) < int(two) for one, two in pairwise(numbers))
    )


def _names_columns(head: Row, below: Sequence[Row], source: Source, named: Sequence[str]) -> bool:
    """Return whether the first row is a header, by its content."""
    first, place = shown_cells(head.cells), f"{source.name} {source.unit} {head.line}"
    widths = Counter(len(trimmed(row.cells)) for row in below)
    usual = widths.most_common(1)[0][0] if widths else 1
    if len(trimmed(head.cells)) == 1 < usual and 2 * widths[usual] > len(below) > 1:
        raise DataError(
            f"{place}: expected {usual} cells, as most rows below have, found one "
            f"({quoted(shown_cells(trimmed(head.cells)))}); if it is a title, remove it; if it "
            "names the only column, quote the texts that contain the delimiter"
        )
    reading = reading_of(first, [shown_cells(row.cells) for row in below], named=named)
    if reading is Reading.UNCLEAR:
        raise _both_readings(first, len(below), place)
    return reading is Reading.HEADER


def _both_readings(first: Sequence[str], below: int, place: str) -> DataError:
    cells = quoted(first)
    return DataError(
        f"{place}: this row can be read in two ways: as the names of the columns ({cells}) above "
        f"{below:,} rows, or as the first of {below + 1:,} rows with the values {cells}; give "
        "--header if it names the columns, --no-header if it does not"
    )
