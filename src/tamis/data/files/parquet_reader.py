"""Parquet files through polars (extra `tables`), told by the four bytes PAR1 at their beginning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tamis.errors import DataError, MissingExtraError

MAGIC = b"PAR1"
_ROWS_AT_ONCE = 8_192


def parquet_rows(path: Path) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
    """The column names and the rows, a few thousand held at a time.

    Raises:
        MissingExtraError: polars is not installed.
        DataError: the file is truncated or otherwise no Parquet file.
    """
    polars = import_polars("reading Parquet")
    try:
        frame = polars.scan_parquet(path)
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
    """The polars module.

    Raises:
        MissingExtraError: it is not installed; `purpose` says what it is needed for.
    """
    try:
        import polars
    except ImportError:
        raise MissingExtraError("polars", "tables", purpose) from None
    return polars


def _broken(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DataError(
        f"{path}: begins like Parquet but cannot be read ({reason}); write it again or fetch it "
        "again"
    )
