"""Rows to score from Parquet, a few thousand in memory at a time. Columns keep their types."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

from tamis.data.files.byte_sources import LocalFile, temporary_copy
from tamis.data.files.columns import find_text, firm
from tamis.data.files.named_rows import SAMPLE_ROWS
from tamis.data.files.table_messages import NoTextError, text_of
from tamis.errors import DataError
from tamis.workflows.score_table.rows import BadRow, Row, Table
from tamis.workflows.score_table.source import TableSource, import_pyarrow

_ROWS_AT_ONCE = 4_096


def parquet_table(source: TableSource, text: str | None) -> Table:
    """Open a Parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: the file is damaged, or its text column cannot be told or holds no texts.
    """
    pyarrow = import_pyarrow("reading Parquet in parts")
    name, held = source.name, None
    if source.is_compressed():
        held = temporary_copy(source.pieces(), name)
    opened = source.open() if held is None else held.path.open("rb")
    try:
        file = pyarrow.parquet.ParquetFile(opened)
    except (pyarrow.ArrowException, OSError) as error:
        opened.close()
        raise _damaged(name, error) from None
    schema = file.schema_arrow
    names = tuple(schema.names)
    if len(set(names)) < len(names):
        raise DataError(f"{name}: two columns have the same name; rename one of them")
    batches = _batches(file, name, (opened, held), pyarrow)
    first = next(batches, None)
    sample = [] if first is None else _shown(first.slice(0, SAMPLE_ROWS))
    if not names:
        raise DataError(f"{name}: expected a column of texts, found no column")
    if sample or firm(text) is not None or len(names) > 1:
        column = names[find_text(names, sample, source=name, requested=text)]
    else:
        column = names[0]
    kind = schema.field(column).type
    if not _holds_texts(kind, pyarrow):
        raise DataError(
            f"{name}: expected texts in column {column!r}, found values of type {kind}; choose "
            "another column with --text"
        )
    return Table(
        "parquet",
        names,
        column,
        _rows(chain([] if first is None else [first], batches), column, pyarrow),
        file.metadata.num_rows,
        schema=schema,
    )


def _batches(
    file: Any, name: str, held: tuple[BinaryIO, LocalFile | None], pyarrow: Any
) -> Iterator[Any]:
    """Yield record batches, then close the file; `held` is what it reads from."""
    try:
        yield from file.iter_batches(batch_size=_ROWS_AT_ONCE)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(name, error) from None
    finally:
        file.close()
        held[0].close()


def _rows(batches: Iterator[Any], column: str, pyarrow: Any) -> Iterator[Row | BadRow]:
    number = 0
    for batch in batches:
        size = batch.nbytes // max(1, batch.num_rows)
        for place, value in enumerate(_values(batch.column(column), pyarrow)):
            number += 1
            try:
                if isinstance(value, bytes):
                    value = value.decode("utf-8")
                found = text_of(value, column)
            except NoTextError as error:
                yield BadRow(number, None, error.reason)
            except UnicodeDecodeError as error:
                reason = f"column {column!r} contains bytes that are not UTF-8 ({error.reason})"
                yield BadRow(number, None, reason)
            else:
                yield Row(number, found, (batch, place), size)


def _values(column: Any, pyarrow: Any) -> list[Any]:
    """Return a column as a list; as bytes where a value is not UTF-8."""
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        large = pyarrow.types.is_large_string(column.type)
        return list(column.cast(pyarrow.large_binary() if large else pyarrow.binary()).to_pylist())


def _shown(batch: Any) -> list[list[str]]:
    """Return the strings of a few rows, "" for everything else."""
    columns = []
    for column in batch.columns:
        try:
            values = column.to_pylist()
        except UnicodeDecodeError:
            values = [None] * len(column)
        columns.append([value if isinstance(value, str) else "" for value in values])
    return [list(row) for row in zip(*columns, strict=True)]


def _holds_texts(kind: Any, pyarrow: Any) -> bool:
    types = pyarrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    view = getattr(types, "is_string_view", lambda _: False)
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or view(kind) or types.is_null(kind)
    )


def _damaged(name: str, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DataError(
        f"{name}: begins like Parquet but cannot be read ({reason}); write or download it again"
    )
