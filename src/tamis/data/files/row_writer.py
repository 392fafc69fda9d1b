"""Write rows to CSV, TSV, JSONL or Parquet (chosen by the file's ending), one row at a time. The
file appears only when it is complete.

Owns the quoting that `csv_reader` reads back unchanged. One exception: a TSV text whose tabs and
line ends look like complete rows cannot be told from rows by any reader of unquoted TSV. CSV has no
such exception. The caller decides which columns a prediction has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from tamis.data.files.parquet_reader import import_polars
from tamis.errors import ConfigError, DataError
from tamis.files import replaced

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


class RowSink(Protocol):
    """Accepts rows one at a time."""

    def write(self, row: Mapping[str, object]) -> None:
        """Add a row; the first row sets the columns of CSV, TSV and Parquet."""
        ...


@contextmanager
def row_writer(path: str | Path, *, columns: Sequence[str] = ()) -> Iterator[RowSink]:
    """Open a sink for rows; `path` is written if the block ends without an error, else not created.

    `columns` names the columns of CSV and TSV in advance, so that a file without rows has a header;
    otherwise the first row names them.

    Raises:
        ConfigError: the ending is none of `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.parquet`.
        DataError: the file cannot be written, **or** a row has a column that the first row does not
            have (JSONL accepts any).
        MissingExtraError: it is Parquet and polars is not installed.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(
            f"{path}: expected a name that ends in {', '.join(ENDINGS)}, got "
            f"{ending or 'no ending'!r}; the ending chooses the format"
        )
    if ending == ".parquet":
        import_polars("writing Parquet")  # raises before hours of work, not after
    try:
        with replaced(path) as beside:
            if ending == ".parquet":
                yield from _parquet_sink(beside)
            else:
                with beside.open("w", encoding="utf-8", newline="") as file:
                    yield (
                        _JsonLines(file)
                        if ending in (".jsonl", ".ndjson")
                        else _Delimited(file, "\t" if ending == ".tsv" else ",", path, columns)
                    )
    except OSError as error:
        raise DataError(
            f"{path}: the file cannot be written ({error.strerror or error}); check the folder "
            "and the space on the disk"
        ) from error


def write_rows(
    path: str | Path, rows: Iterable[Mapping[str, object]], *, columns: Sequence[str] = ()
) -> int:
    """Write `rows` one by one to `path`, in the format of its ending; returns the number of rows.

    Raises:
        ConfigError, DataError, MissingExtraError: see `row_writer`.
    """
    count = 0
    with row_writer(path, columns=columns) as sink:
        for row in rows:
            sink.write(row)
            count += 1
    return count


def beside_own(own: Mapping[str, object], added: Mapping[str, object]) -> dict[str, object]:
    """Join the columns of a row and of its prediction.

    If a name exists in both, the prediction's column gets the prefix "predicted_".
    """
    row = dict(own)
    for name, value in added.items():
        while name in row:
            name = f"predicted_{name}"
        row[name] = value
    return row


class _Delimited:
    def __init__(self, file: TextIO, delimiter: str, path: Path, columns: Sequence[str]) -> None:
        self._file, self._delimiter, self._path = file, delimiter, path
        self._columns: dict[str, None] = {}
        self._special = re.compile(f'["\r\n{delimiter}]')
        if columns:
            self._begin(columns)

    def _begin(self, columns: Iterable[str]) -> None:
        self._columns = dict.fromkeys(columns)
        self._line(list(self._columns))

    def write(self, row: Mapping[str, object]) -> None:
        if not self._columns:
            self._begin(row)
        for name in row:
            if name not in self._columns:
                raise DataError(
                    f"{self._path}: a row has a column {name!r} that the first row does not "
                    "have; write .jsonl, which accepts any columns"
                )
        self._line([_cell(row.get(name)) for name in self._columns])

    def _line(self, cells: list[str]) -> None:
        # A row of one empty cell would be an empty line, which readers skip.
        fields = [self._quoted(cell) for cell in cells] if cells != [""] else ['""']
        self._file.write(self._delimiter.join(fields) + "\n")

    def _quoted(self, cell: str) -> str:
        if self._special.search(cell):
            doubled = cell.replace('"', '""')
            return f'"{doubled}"'
        return cell


class _JsonLines:
    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: Mapping[str, object]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _parquet_sink(path: Path) -> Iterator[RowSink]:
    """Write Parquet by way of a temporary JSONL file.

    polars writes Parquet from a scan in bounded memory, but not row by row.
    """
    polars = import_polars("writing Parquet")
    waiting = path.with_name(path.name + ".jsonl")
    try:
        with waiting.open("w", encoding="utf-8", newline="") as file:
            yield _JsonLines(file)
        if waiting.stat().st_size:
            polars.scan_ndjson(waiting, infer_schema_length=None).sink_parquet(path)
        else:
            polars.DataFrame().write_parquet(path)
    finally:
        waiting.unlink(missing_ok=True)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
