"""A file of any format as named columns and rows of values; `tables` makes a `Table` of it.

Owns the choice of the format by content, and the check that every row has the columns of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tamis.data.files import csv_reader, json_reader, parquet_reader
from tamis.data.files.columns import is_header
from tamis.data.files.encoding import decode
from tamis.errors import DataError

Quoting = Literal["auto", "pandas"]
SAMPLE_ROWS = 1_000


@dataclass(frozen=True)
class Grid:
    """Columns and rows; `rows[i]` begins in line `lines[i]`.

    Without a header line the columns are named "1", "2", ...
    """

    names: tuple[str, ...]
    rows: list[Sequence[object]]
    lines: list[int]
    format: str
    encoding: str
    unit: str  # what `lines` counts: "line", or "row" where a file has no lines
    notes: tuple[str, ...]


def read_grid(content: bytes, path: Path, *, quoting: Quoting, named: Sequence[str] = ()) -> Grid:
    """Read `content`, the bytes of `path`.

    `named` are the columns that the caller requested; they help to recognize a header line.

    Raises:
        DataError: the content is not a table, or a row has more or fewer columns than the others.
        MissingExtraError: it is Parquet and polars is not installed.
    """
    source = str(path)
    if content.startswith(parquet_reader.MAGIC):
        names, values = parquet_reader.parquet_rows(path)
        rows: list[Sequence[object]] = list(values)
        return Grid(names, rows, list(range(1, len(rows) + 1)), "parquet", "binary", "row", ())
    text, encoding = decode(content, source)
    if json_reader.begins_like_json(text):
        return _json_grid(text, source, encoding.name, encoding.notes)
    layout = csv_reader.sniff(text)
    if layout is None:
        raise DataError(
            f"{source}: expected a table (CSV, TSV, JSONL or Parquet), found text without "
            "columns; separate label and text with a tab, or write a CSV with a header line"
        )
    notes = list(encoding.notes)
    if quoting == "pandas":
        layout = csv_reader.Layout(layout.delimiter, quoted=True)
    found = list(
        csv_reader.records(csv_reader.lines_of(text, quoted=layout.quoted), layout, source)
    )
    head = found[0].fields
    header = is_header(head, [record.fields for record in found[1:]], named=named)
    names = (
        header_names(head)
        if header
        else tuple(str(position) for position in range(1, len(head) + 1))
    )
    data = found[1:] if header else found
    for record in data:
        if len(record.fields) != len(names):
            raise csv_reader.wrong_width(record, len(names), source, layout)
    return Grid(
        names,
        [record.fields for record in data],
        [record.line for record in data],
        layout.format,
        encoding.name,
        "line",
        tuple(notes),
    )


def header_names(head: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a header line; a column without a name gets its 1-based position."""
    return tuple(name if name.strip() else str(position) for position, name in enumerate(head, 1))


def _json_grid(text: str, source: str, encoding: str, notes: tuple[str, ...]) -> Grid:
    array = text.lstrip().startswith("[")
    found = list(
        json_reader.json_array(text, source)
        if array
        else json_reader.json_rows(csv_reader.lines_of(text, quoted=False), source)
    )
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
    )
