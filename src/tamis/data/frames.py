"""Labelled tables from what Python programs hold: a DataFrame of pandas or polars, a table of
pyarrow, a data set of Hugging Face, a mapping of columns.

No library is imported here: the columns are read through the object's own methods.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tamis.data.files.faulty_rows import FaultyRows
from tamis.data.files.table_reader import Grid
from tamis.data.tables import Table, table_of
from tamis.errors import DataError

SOURCE = "data frame"
"""Name of a table that comes from no file."""


def frame_table(
    frame: Any,
    *,
    text: str | None = None,
    label: str | None = None,
    to_train: bool = False,
    skip_unlabelled: bool = False,
) -> Table:
    """Return the labelled table of a data frame.

    Args:
        frame: a DataFrame of pandas or polars (lazy, too), a pyarrow Table, a Hugging Face
            Dataset, a mapping of columns, or a `Table`, which is returned as it is. A named index
            of pandas is a column, an index without a name is not, as in a Parquet file.
        text: column of the texts; None: detected by name, then by content.
        label: column of the labels, in the same way.
        to_train: an empty text is a fault.
        skip_unlabelled: leave out rows without a label; a note of the table counts them.

    Raises:
        DataError: `frame` is something else, has no rows, columns of different lengths, or faulty
            rows; or the columns cannot be told.
    """
    if isinstance(frame, Table):
        return frame
    columns = _columns(frame)
    lengths = {name: len(values) for name, values in columns}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r} {count:,}" for name, count in list(lengths.items())[:5])
        raise DataError(f"{SOURCE}: expected columns of one length, got {shown}")
    if not columns or not columns[0][1]:
        raise DataError(f"{SOURCE}: expected rows with a text and a label, found none")
    names = tuple(name for name, _ in columns)
    rows = list(zip(*(values for _, values in columns), strict=True))
    digest = hashlib.sha256(repr((names, rows)).encode("utf-8", "surrogatepass"))
    numbers = list(range(1, len(rows) + 1))
    faults = FaultyRows(SOURCE, "row")
    grid = Grid(names, list(rows), numbers, SOURCE, "none", "row", (), faults)
    rules: dict[str, bool] = {"to_train": to_train, "skip_unlabelled": skip_unlabelled}
    return table_of(grid, SOURCE, digest.hexdigest(), text=text, label=label, **rules)


def is_frame(data: Any) -> bool:
    """Return whether something is a table in memory that `frame_table` reads."""
    kind = type(data)
    known = isinstance(data, Table | Mapping)
    return known or hasattr(kind, "columns") or hasattr(kind, "column_names")


def _columns(frame: Any) -> list[tuple[str, list[Any]]]:
    """Names and plain values of the columns."""
    if hasattr(frame, "collect") and not hasattr(type(frame), "shape"):
        frame = frame.collect()  # a lazy frame of polars
    if isinstance(frame, Mapping):
        named: list[tuple[Any, Any]] = list(frame.items())
    elif hasattr(frame, "iloc"):
        named = _pandas_columns(frame)
    elif hasattr(frame, "column_names"):  # pyarrow, Hugging Face
        named = [(name, frame[name]) for name in frame.column_names]
    elif hasattr(frame, "columns"):
        named = [(name, frame[name]) for name in frame.columns]
    else:
        raise DataError(
            f"expected a file, a name of the catalog or a data frame, got {type(frame).__name__} "
            f"({frame!r:.40}); give a path, a DataFrame or a mapping of columns"
        )
    return [(str(name), [_plain(value) for value in _values(values)]) for name, values in named]


def _pandas_columns(frame: Any) -> list[tuple[Any, Any]]:
    """Named levels of the index, then the columns; by position, because names may occur twice."""
    index = frame.index
    levels = [
        (name, index.get_level_values(level))
        for level, name in enumerate(index.names)
        if name is not None and name not in frame.columns
    ]
    columns = [(name, frame.iloc[:, place]) for place, name in enumerate(frame.columns)]
    return [*levels, *columns]


def _values(column: Any) -> Iterable[Any]:
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            found: Iterable[Any] = getattr(column, method)()
            return found
    return list(column)


def _plain(value: Any) -> Any:
    """A value as a file reader gives it: scalars of numpy as Python's, missing ones as None."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    different = value != value
    missing = isinstance(different, bool) and different  # NaT; pandas' NA gives NA
    return None if missing or type(value).__name__ in ("NAType", "NaTType") else value
