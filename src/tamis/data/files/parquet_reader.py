"""Parquet files, read with polars (extra `tables`) and recognized by the first four bytes, PAR1."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tamis.errors import DataError, MissingExtraError

MAGIC = b"PAR1"
_ROWS_AT_ONCE = 8_192


def parquet_rows(
    path: Path, content: bytes | None = None
) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
    """Return the column names and an iterator of the rows; a few thousand rows are in memory.

    `content` is read instead of the file if it is given: that of a pipe or a compressed file.

    Raises:
        MissingExtraError: polars is not installed.
        DataError: the file is truncated or not Parquet.
    """
    polars = import_polars("reading Parquet")
    try:
        frame = polars.scan_parquet(path if content is None else io.BytesIO(content))
        names = tuple(frame.collect_schema().names())
    except (polars.exceptions.PolarsError, OSError) as error:
        raise _broken(path, error) from None

    def rows() -> Iterator[tuple[object, ...]]:
        start = 0
        while True:
            try:
                part = frame.slice(start, _ROWS_AT_ONCE).collect()
            except (polars.exceptions.PolarsError, OSError) as error:
                raise _broken(path, error) from None
            yield from part.iter_rows()
            start += part.height
            if part.height < _ROWS_AT_ONCE:
                return

    return names, rows()


def import_polars(purpose: str) -> ModuleType:
    """Import polars.

    Raises:
        MissingExtraError: it is not installed; the message contains `purpose`.
    """
    try:
        import polars
    except ImportError:
        raise MissingExtraError("polars", "tables", purpose) from None
    return polars


def _broken(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DataError(
        f"{path}: begins like Parquet but cannot be read ({reason}); write or download it again"
    )
