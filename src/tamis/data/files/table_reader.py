"""A file of any format as named columns and rows of values; `tables` makes a `Table` of it.

Owns the choice of the format by content; `named_rows` decides about headers and widths.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from tamis.data.files import csv_dialect, csv_reader, excel_reader, json_reader, parquet_reader
from tamis.data.files.byte_sources import source_name
from tamis.data.files.cells import Row
from tamis.data.files.encoding import decode
from tamis.data.files.faulty_rows import FaultyRows
from tamis.data.files.named_rows import SAMPLE_ROWS, NamedRows, named_rows
from tamis.data.files.row_check import Source
from tamis.errors import DataError

Quoting = Literal["auto", "pandas"]

__all__ = ["SAMPLE_ROWS", "Grid", "HeaderOptions", "Quoting", "delimited_rows", "read_grid"]


class HeaderOptions(NamedTuple):
    """What the user says about the columns of a table."""

    named: tuple[str, ...] = ()
    """Columns that the user requested; they help to recognize a header."""
    header: bool | None = None
    """Whether the first row is a header; None: decided by its content."""


DETECTED = HeaderOptions()


@dataclass(frozen=True)
class Grid:
    """Columns and rows; `rows[i]` begins in line `lines[i]` and may lack cells at its end.

    Without a header line the columns are named "1", "2", ... `faults` are the rows that could not
    be read.
    """

    names: tuple[str, ...]
    rows: list[Sequence[object]]
    lines: list[int]
    format: str
    encoding: str
    unit: str  # what `lines` counts: "line", or "row" where a file has no lines
    notes: tuple[str, ...]
    faults: FaultyRows
    has_header: bool = field(default=True)


def read_grid(
    content: bytes, path: Path, *, quoting: Quoting, options: HeaderOptions = DETECTED
) -> Grid:
    """Read `content`, the bytes of `path`.

    Raises:
        DataError: the content is not a table, or its first row could be a header or not.
        MissingExtraError: it is Parquet or Excel and the package for it is not installed.
    """
    source = source_name(path)
    if content.startswith(parquet_reader.MAGIC):
        names, values = parquet_reader.parquet_rows(path, content)
        rows: list[Sequence[object]] = list(values)
        lines = list(range(1, len(rows) + 1))
        faults = FaultyRows(source, "row")
        return Grid(names, rows, lines, "parquet", "binary", "row", (), faults)
    if excel_reader.begins_like_excel(content):
        sheet = excel_reader.excel_sheet(content, source)
        found = named_rows(
            sheet.rows,
            Source(source, "row"),
            named=options.named,
            header=options.header,
            sample_rows=None,
        )
        return _grid(found, "excel", "binary", sheet.notes)
    text, encoding = decode(content, source)
    if json_reader.begins_like_json(text):
        return _json_grid(text, source, encoding.name, encoding.notes)
    declared = csv_dialect.declared_separator(text)
    body = text if declared is None else text[declared.length :]
    layout = (
        csv_dialect.sniff(text)
        if declared is None
        else csv_dialect.layout_of(body, declared.delimiter)
    )
    if layout is None:
        raise DataError(
            f"{source}: expected a table (CSV, TSV, Excel, JSONL or Parquet), found text without "
            "columns; separate label and text with a tab, or write a CSV with a header line"
        )
    if quoting == "pandas":
        layout = csv_reader.Layout(layout.delimiter, quoted=True)
    found = delimited_rows(
        csv_reader.lines_of(body, layout),
        layout,
        source,
        options=options,
        first_line=1 if declared is None else 2,
        sample_rows=None,
    )
    return _grid(found, layout.format, encoding.name, encoding.notes)


def delimited_rows(
    lines: Iterator[str],
    layout: csv_reader.Layout,
    source: str,
    *,
    options: HeaderOptions,
    first_line: int = 1,
    sample_rows: int | None = SAMPLE_ROWS,
    at_once: bool = False,
) -> NamedRows:
    """Return the columns and rows of delimited text; see `named_rows`.

    `first_line` is the number of the first of `lines`. A quoted field that is never closed ends the
    rows and is a fault.

    Raises:
        DataError: there are no rows, or the first row could be a header or not.
    """
    unclosed: list[csv_reader.UnclosedQuoteError] = []

    def rows() -> Iterator[Row]:
        try:
            for record in csv_reader.records(lines, layout, source, first_line=first_line):
                yield Row(record.line, record.fields)
        except csv_reader.UnclosedQuoteError as error:
            unclosed.append(error)
            if found is not None:
                found.faults.add(error.line, error.reason, error.remedy)

    found: NamedRows | None = None
    found = named_rows(
        rows(),
        Source(
            source,
            "line",
            lambda found, wanted: csv_reader.wrong_width(found, wanted, layout),
            at_once,
        ),
        named=options.named,
        header=options.header,
        sample_rows=sample_rows,
    )
    for error in unclosed:
        found.faults.add(error.line, error.reason, error.remedy)
    return found


def _grid(found: NamedRows, format_: str, encoding: str, notes: Sequence[str]) -> Grid:
    rows = list(found.rows)
    return Grid(
        found.names,
        [row.cells for row in rows],
        [row.line for row in rows],
        format_,
        encoding,
        found.faults.unit,
        (*notes, *found.notes, *found.counted.notes()),
        found.faults,
        found.has_header,
    )


def _json_grid(text: str, source: str, encoding: str, notes: tuple[str, ...]) -> Grid:
    array = text.lstrip().startswith("[")
    faults = FaultyRows(source)
    found = list(
        json_reader.json_array(text, source)
        if array
        else json_reader.json_rows(
            io.StringIO(text, newline="\n" if "\n" in text else ""), source, faults
        )
    )
    if len(found) == 1:
        json_reader.refuse_whole_table(found[0], source)
    names = tuple(dict.fromkeys(name for row in found for name in row.values))
    rows: list[Sequence[object]] = [tuple(row.values.get(name) for name in names) for row in found]
    return Grid(
        names,
        rows,
        [row.line for row in found],
        "json" if array else "jsonl",
        encoding,
        "line",
        notes,
        faults,
    )
