"""Rows to score from delimited text, or from plain lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from tamis.data.files import csv_dialect
from tamis.data.files.cells import Row as CellRow
from tamis.data.files.cells import shown_cells
from tamis.data.files.columns import find_text, firm
from tamis.data.files.csv_reader import newline_of, wrong_width
from tamis.data.files.named_rows import NamedRows, named_rows
from tamis.data.files.row_check import Source
from tamis.data.files.table_messages import TableLayout
from tamis.errors import DataError
from tamis.workflows.score_table.lines import LongLine, bounded_lines, too_long
from tamis.workflows.score_table.record_stream import RecordStream
from tamis.workflows.score_table.rows import BadRow, Row, RowFaults, Table, numbered
from tamis.workflows.score_table.source import TableSource
from tamis.workflows.score_table.survey import Survey

NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What Python makes of bytes that are not UTF-8 (`errors="surrogateescape"`)."""
_COLUMN = "text"


def delimited_table(
    source: TableSource,
    known: Survey,
    start: str,
    layout: TableLayout,
    options: tuple[str | None, bool | None],
) -> Table:
    """Open delimited text.

    Args:
        source: the file.
        known: what was found out about it.
        start: its beginning.
        layout: how it is written.
        options: the text column, and whether the first row is a header; None: decided by content.

    Raises:
        DataError: there are no rows, or the header or the text column cannot be told.
    """
    text, header = options
    file = source.text(known.encoding, known.errors, newline_of(layout.layout, start))
    lines = islice(bounded_lines(file), layout.skipped, None)
    faults = RowFaults(source.name)
    stream = RecordStream(lines, layout.layout, faults, first_line=1 + layout.skipped)
    found = named_rows(
        iter(stream),
        Source(
            source.name,
            wrong_width=lambda found, wanted: wrong_width(found, wanted, layout.layout),
            faults=faults,
        ),
        named=() if text is None else (text,),
        header=header,
    )
    names = found.names
    stream.width = len(names)
    sample = [shown_cells(row.cells) for row in found.sample]
    undeclared = (firm(text), header) == (None, None) and not layout.skipped
    if undeclared and not found.has_header and csv_dialect.is_prose(sample):
        raise DataError(
            f"{source.name}: each line can be read in two ways: as one text with a "
            f"{layout.layout.mark} in it, or as {len(names)} columns; name the file .txt if a line "
            "is one text, give the text column with --text if not"
        )
    column = _text_column(source.name, found, sample, text)
    if len(set(names)) < len(names):
        raise DataError(
            f"{source.name}: two columns have the same name ({', '.join(map(repr, names))}); "
            "rename one of them"
        )
    # Texts with line ends make fewer rows than lines.
    lines_read = max((row.line for row in found.sample), default=1)
    return Table(
        "csv",
        names,
        names[column],
        _rows(found, column, names, faults, escaped=known.errors == "surrogateescape"),
        round(known.lines * len(sample) / lines_read) if sample else 0,
        (*known.notes, *found.notes),
        found.counted.notes,
    )


def lines_table(source: TableSource, known: Survey, *, returns: bool) -> Table:
    """Open plain text as a table with the column `text`, one row a line. `returns`: lines end with
    CR alone.
    """
    file = source.text(known.encoding, known.errors, "" if returns else "\n")
    faults = RowFaults(source.name)

    def texts() -> Iterator[tuple[int, str]]:
        for number, line in enumerate(bounded_lines(file), 1):
            if isinstance(line, LongLine):
                faults.add(number, *too_long())
            elif known.errors == "surrogateescape" and NOT_UTF8.search(line):
                faults.add(number, *_not_utf8(_COLUMN, line))
            else:
                yield number, line.removesuffix("\n").removesuffix("\r")

    def rows() -> Iterator[Row | BadRow]:
        for each in numbered(texts(), faults):
            if isinstance(each, BadRow):
                yield each
            else:
                number, _, line = each
                yield Row(number, line, [line], len(line))

    return Table("csv", (_COLUMN,), _COLUMN, rows(), known.lines, known.notes)


def _text_column(
    name: str, found: NamedRows, sample: Sequence[Sequence[str]], text: str | None
) -> int:
    if sample:
        return find_text(found.names, sample, source=name, requested=text)
    asked = firm(text)
    if asked is not None or len(found.names) > 1:
        return find_text(found.names, [], source=name, requested=text)
    return 0


def _rows(
    found: NamedRows,
    column: int,
    names: Sequence[str],
    faults: RowFaults,
    *,
    escaped: bool,
) -> Iterator[Row | BadRow]:
    width = len(names)

    def whole_rows() -> Iterator[tuple[int, list[str]]]:
        for row in found.rows:
            cells = _strings(row)
            if len(cells) <= column:
                faults.add(
                    row.line,
                    f"expected a text in column {names[column]!r}, found only {len(cells)} of "
                    f"{width} cells",
                    "add the missing cells",
                )
                continue
            if len(cells) < width:
                cells += [""] * (width - len(cells))
            fault = _broken(cells, names, escaped=escaped)
            if fault is None:
                yield row.line, cells
            else:
                faults.add(row.line, *fault)

    for each in numbered(whole_rows(), faults):
        if isinstance(each, BadRow):
            yield each
        else:
            number, _, cells = each
            yield Row(number, cells[column], cells, sum(map(len, cells)))


def _strings(row: CellRow) -> list[str]:
    return list(row.cells)  # type: ignore[arg-type]  # cells of delimited text are strings


def _broken(cells: Sequence[str], names: Sequence[str], *, escaped: bool) -> tuple[str, str] | None:
    """Return what is wrong with the characters of a row."""
    if escaped:
        for name, cell in zip(names, cells, strict=True):
            if not cell.isascii() and NOT_UTF8.search(cell):
                return _not_utf8(name, cell)
    return None


def _not_utf8(name: str, cell: str) -> tuple[str, str]:
    found = NOT_UTF8.search(cell)
    byte = ord(found[0]) - 0xDC00 if found else 0
    return (
        f"column {name!r} contains the byte 0x{byte:02x}, which is not UTF-8",
        "save the file as UTF-8",
    )
