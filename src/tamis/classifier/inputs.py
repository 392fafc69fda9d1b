"""Validation of the texts that users pass to a classifier. Labels and weights are in targets.py.

Shapes: N texts.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError

_KINDS = (
    "a list, tuple, iterator, Series or array of strings, or a DataFrame of one column of strings"
)


class DataFrameLike(Protocol):
    """A DataFrame of pandas, polars or a library with the same interface."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""


Texts = Iterable[str] | NDArray[Any] | DataFrameLike
"""Texts to fit or to classify: a list, tuple, iterator or Series of N strings, an array (N,) or
(N, 1), or a DataFrame of one column. A single string is refused: it is an iterable of letters."""


def as_texts(X: Any) -> list[str]:
    """Return texts as a list of plain strings.

    Args:
        X: `Texts`.

    Raises:
        DataError: X is something else, or an item is not a string.
    """
    listed = as_column(X, "X", _KINDS)
    wrong = [i for i, text in enumerate(listed) if not isinstance(text, str)]
    if wrong:
        first, text = wrong[0], listed[wrong[0]]
        more = f" ({len(wrong):,} such rows in all)" if len(wrong) > 1 else ""
        raise DataError(
            f"texts[{first}]: expected a string, got {type(text).__name__} ({short(text)}); "
            f"{_remedy(text)}{more}"
        )
    # `str()` of a string enumeration is the name of its member, not its text.
    return [text if type(text) is str else str.__str__(text) for text in listed]


def as_column(values: Any, name: str, kinds: str) -> list[Any]:
    """Return one column of any kind as a list; the items are not checked.

    Args:
        values: a sequence, iterator, Series, array (N,) or (N, 1), or DataFrame of one column.
        name: name of the argument, for errors.
        kinds: what is expected, for errors.

    Raises:
        DataError: `values` is a single text, a mapping, a set, a file, several columns, or nothing
            that has items.
    """
    if is_frame(values):
        return _only_column(values, name, kinds)
    if hasattr(type(values), "__array__") and not hasattr(type(values), "__iter__"):
        values = np.asarray(values)
    refused = _refused(values)
    if refused is None:
        shape = getattr(values, "shape", None)
        if not isinstance(shape, tuple) or len(shape) == 1:
            try:
                return list(values)
            except TypeError:  # it only looks like a sequence, as a lazy frame does
                refused = _article(values), "pass a list"
        elif len(shape) == 2 and shape[1] == 1 and isinstance(values, np.ndarray):
            # A masked array keeps its mask; a matrix has no one-dimensional columns.
            masked = isinstance(values, np.ma.MaskedArray)
            return list(values[:, 0] if masked else np.asarray(values)[:, 0])
        refused = refused or (f"{_article(values)} of shape {shape}", "pass one column")
    found, remedy = refused
    raise DataError(f"{name}: expected {kinds}; got {found}; {remedy}")


def is_frame(values: Any) -> bool:
    """Return whether something is a DataFrame. Reads no attribute of it: that of a lazy one would
    be computed.
    """
    return all(hasattr(type(values), name) for name in ("columns", "shape"))


def column_names(X: Any) -> NDArray[Any] | None:
    """Return the (1,) name of the column where X is a DataFrame of one column with a name."""
    if not is_frame(X) or len(X.columns) != 1 or not isinstance(X.columns[0], str):
        return None
    return np.array(list(X.columns), dtype=object)


def _only_column(frame: Any, name: str, kinds: str) -> list[Any]:
    count = len(frame.columns)
    if count == 1 and hasattr(frame, "iloc"):
        return list(frame.iloc[:, 0])
    if count == 1 and hasattr(frame, "to_series"):
        return list(frame.to_series(0))
    names = ", ".join(map(short, list(frame.columns)[:5])) + (", ..." if count > 5 else "")
    raise DataError(
        f"{name}: expected {kinds}; got {_article(frame)} of {count} columns ({names:.200}); "
        "pass one of them, such as frame['text']"
    )


def _refused(values: Any) -> tuple[str, str] | None:
    """What was given, and what to pass instead, where it is no column; None otherwise."""
    found = _article(values)
    if isinstance(values, str):
        return f"a single string ({short(values)})", "put it in a list: [text]"
    if isinstance(values, bytes | bytearray | memoryview):
        return found, "decode it and put the text in a list: [data.decode()]"
    if isinstance(values, Mapping):
        keys = ", ".join(map(short, list(values)[:3]))
        return (
            f"{found} with keys {keys:.80}" if values else f"an empty {type(values).__name__}",
            "pass one of its values, or list(mapping.values())",
        )
    if isinstance(values, array):
        return found, "pass a list of strings"
    if isinstance(values, set | frozenset):
        return found, "a set has no order; pass a list"
    if isinstance(values, os.PathLike) or hasattr(type(values), "readline"):
        return found, "read the file first, for example with tamis.read_table(path).texts"
    shape = getattr(values, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        return None if shape else (f"{found} of shape ()", "pass an array of shape (N,)")
    if not hasattr(type(values), "__iter__") and not hasattr(type(values), "__getitem__"):
        return found, "pass a list"
    return None


def short(value: Any) -> str:
    """Return the beginning of a value's representation, in one line."""
    return " ".join(repr(value).split())[:40]


def _article(values: Any) -> str:
    if values is None:
        return "None"
    name = type(values).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _remedy(item: Any) -> str:
    if isinstance(item, bytes | bytearray):
        return "decode it, for example with data.decode()"
    if isinstance(item, Mapping | Iterable):
        return "pass one text per row"
    return "convert or drop the row"
