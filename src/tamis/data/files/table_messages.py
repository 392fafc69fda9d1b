"""Messages from tables: delimited text, Excel, JSON and Parquet, with all their columns.

`message_reader` decides which of them a source is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple, overload

from tamis.data.files import csv_dialect, csv_reader, excel_reader, json_reader, parquet_reader
from tamis.data.files.cells import shown_cell, shown_cells
from tamis.data.files.columns import find_text, firm
from tamis.data.files.faulty_rows import FaultyRows
from tamis.data.files.messages import Message, Messages
from tamis.data.files.named_rows import SAMPLE_ROWS, NamedRows, named_rows
from tamis.data.files.row_check import Source
from tamis.data.files.table_reader import HeaderOptions, delimited_rows
from tamis.errors import DataError

Options = tuple[str | None, bool | None]
"""What the user says: the text column, and whether the first row is a header."""


class TableLayout(NamedTuple):
    """The layout of a table, and the number of lines before its first row."""

    layout: csv_reader.Layout
    skipped: int = 0


@overload
def table_layout(start: str, *, whole: bool, sure: Literal[True]) -> TableLayout: ...
@overload
def table_layout(start: str, *, whole: bool, sure: bool) -> TableLayout | None: ...
def table_layout(start: str, *, whole: bool, sure: bool) -> TableLayout | None:
    """Return the layout of a table, or None if each line is one text.

    Args:
        start: the beginning of the file.
        whole: it is the whole file.
        sure: the file name or the user says that it is a table.
    """
    declared = csv_dialect.declared_separator(start)
    if declared is not None:
        body = start[declared.length :]
        return TableLayout(csv_dialect.layout_of(body, declared.delimiter, whole=whole), 1)
    layout = csv_dialect.sniff(start, whole=whole)
    if sure:
        # A single column has no delimiter; quotes are read as a CSV writer sets them.
        return TableLayout(layout or csv_dialect.layout_of(start, ",", whole=whole))
    if layout is None:
        return None
    rows, roles, share = csv_dialect.regularity(start, layout, whole=whole)
    # Commas are frequent in texts: they separate columns only under a header with a known name.
    # Tabs are rare in texts.
    is_table = rows > 1 and share == 1.0 and (roles or layout.delimiter == "\t")
    return TableLayout(layout) if is_table else None


def delimited_messages(
    lines: Iterable[str],
    table: TableLayout,
    name: str,
    options: Options,
    notes: tuple[str, ...],
    *,
    at_once: bool = False,
) -> Messages:
    """Return the messages of delimited text; `at_once` raises a fault when it is found.

    Raises:
        DataError: there are no rows, or the header or the text column cannot be told; while reading
            and at its end: rows are faulty.
    """
    text, header = options
    found = delimited_rows(
        islice(lines, table.skipped, None),
        table.layout,
        name,
        options=HeaderOptions(() if text is None else (text,), header),
        first_line=1 + table.skipped,
        at_once=at_once,
    )
    sample = [shown_cells(row.cells) for row in found.sample]
    undeclared = (firm(text), header) == (None, None) and not table.skipped
    if undeclared and not found.has_header and csv_dialect.is_prose(sample):
        raise DataError(
            f"{name}: each line can be read in two ways: as one text with a {table.layout.mark} in "
            f"it, or as {len(found.names)} columns; name the file .txt if a line is one text, give "
            "the text column with --text if not"
        )
    return _named_messages(table.layout.format, found, name, text, notes)


def excel_messages(path: Path, text: str | None, header: bool | None, name: str) -> Messages:
    """Return the messages of a workbook, which is called `name` in messages.

    Raises:
        MissingExtraError: python-calamine is not installed.
        DataError: as `delimited_messages`; or the workbook cannot be read.
    """
    sheet = excel_reader.excel_sheet(path.read_bytes(), name)
    found = named_rows(
        sheet.rows,
        Source(name, "row"),
        named=() if text is None else (text,),
        header=header,
    )
    return _named_messages("excel", found, name, text, sheet.notes)


def json_messages(
    format_: str,
    faults: FaultyRows,
    rows: Iterator[json_reader.JsonRow],
    text: str | None,
    notes: tuple[str, ...],
) -> Messages:
    """Return the messages of JSON objects; `faults` may already hold those of their syntax.

    Raises:
        DataError: there are none, or the text column cannot be told; while reading and at its end:
            objects are faulty.
    """
    name = faults.source
    # One object is enough if it names the text column; a stream must not wait for more.
    first = next(rows, None)
    if first is None:
        faults.check()
        raise DataError(f"{name}: expected JSON objects, found none; give at least one")
    names = tuple(first.values)
    strings = [
        ["" if not isinstance(first.values[key], str) else str(first.values[key]) for key in names]
    ]
    column = (
        names[find_text(names, strings, source=f"{name} line {first.line}", requested=text)]
        if names
        else "text"
    )
    pairs = ((row.line, dict(row.values)) for row in chain([first], rows))
    return Messages(format_, column, name, notes, _sound(pairs, column, faults, text_of))


def parquet_messages(path: Path, text: str | None, name: str) -> Messages:
    """Return the messages of a Parquet file, which is called `name` in messages.

    Raises:
        MissingExtraError: polars is not installed.
        DataError: the text column cannot be told; while reading and at its end: rows are faulty.
    """
    names, rows = parquet_reader.parquet_rows(path)
    sample = list(islice(rows, SAMPLE_ROWS))
    if not sample:
        return Messages("parquet", text or names[0], name, (_no_rows(name, names),), iter(()))
    shown = [["" if not isinstance(value, str) else value for value in row] for row in sample]
    column = names[find_text(names, shown, source=name, requested=text)]
    pairs = (
        (number, dict(zip(names, row, strict=True)))
        for number, row in enumerate(chain(sample, rows), 1)
    )
    faults = FaultyRows(name, "row")
    return Messages("parquet", column, name, (), _sound(pairs, column, faults, text_of))


def _named_messages(
    format_: str, found: NamedRows, name: str, text: str | None, notes: Sequence[str]
) -> Messages:
    names, missing = found.names, None if format_ == "excel" else ""
    sample = [shown_cells(row.cells) for row in found.sample]
    if not sample and not found.faults:
        return Messages(format_, text or names[0], name, (*notes, _no_rows(name, names)), iter(()))
    column = names[find_text(names, sample, source=name, requested=text)]
    if len(set(names)) < len(names):
        raise DataError(
            f"{name}: two columns have the same name ({', '.join(map(repr, names))}); rename "
            "one of them"
        )
    place = names.index(column)

    def pairs() -> Iterator[tuple[int, dict[str, object]]]:
        for line, cells in found.rows:
            if len(cells) <= place:
                found.faults.add(
                    line,
                    f"expected a text in column {column!r}, found only {len(cells)} of "
                    f"{len(names)} cells",
                    "add the missing cells or remove the row",
                )
                continue
            padded = [*cells, *[missing] * (len(names) - len(cells))]
            yield line, dict(zip(names, padded, strict=True))

    return Messages(
        format_,
        column,
        name,
        (*notes, *found.notes),
        _sound(pairs(), column, found.faults, _cell_text),
        found.counted.notes,
    )


def _no_rows(name: str, names: Sequence[str]) -> str:
    return f"{name} has no rows, only the names of its columns ({', '.join(map(repr, names))})."


def _sound(
    rows: Iterator[tuple[int, dict[str, object]]],
    column: str,
    faults: FaultyRows,
    text_of: Callable[[object, str], str],
) -> Iterator[Message]:
    """Yield messages up to the first faulty row, then read on to report all of them.

    Raises:
        DataError: rows are faulty.
    """
    for line, columns in rows:
        try:
            text = text_of(columns.get(column), column)
        except NoTextError as error:
            faults.add(line, error.reason, error.remedy)
            continue
        if not faults:
            yield Message(text, columns, line)
    faults.check()


class NoTextError(Exception):
    """A value is not a text."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Say what is wrong with it, and what to do."""
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def text_of(value: object, column: str) -> str:
    """Return a value of the text column as a text.

    Raises:
        NoTextError: it is none.
    """
    if not isinstance(value, str):
        found = "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"
        raise NoTextError(
            f"expected a text in column {column!r}, found {found}",
            "make it a string or choose another column with --text",
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise NoTextError(
                f"column {column!r} contains half of a surrogate pair, which is not a character",
                "remove it",
            ) from None
    return value


def _cell_text(value: object, column: str) -> str:
    """Return a cell as text: Excel stores a message of digits as a number, an empty one as none."""
    return text_of(shown_cell(value), column)
