"""Validation of what users pass to `fit` and `predict`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError


def as_texts(texts: Any) -> tuple[list[str], bool]:
    """Return the texts as a list of strings, and whether a single string was given.

    Raises:
        DataError: an item is not a string.
    """
    if isinstance(texts, str):
        return [texts], True
    listed = list(texts)
    for i, text in enumerate(listed):
        if not isinstance(text, str):
            raise DataError(
                f"texts[{i}]: expected a string, got {type(text).__name__} ({text!r:.40}); "
                "convert or drop the row"
            )
    return [str(text) for text in listed], False


def targets_of(texts: list[str], labels: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the sorted distinct labels and the (R,) class numbers.

    Raises:
        DataError: different lengths, a missing label, or fewer than two classes.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or len(array) != len(texts):
        raise DataError(
            f"labels must be one for each of the {len(texts)} texts; got an array of shape "
            f"{array.shape}"
        )
    values = array.tolist()
    missing = [i for i, label in enumerate(values) if _is_missing(label)]
    if missing:
        raise DataError(f"labels[{missing[0]}] is missing; label the row or drop it")
    if array.dtype.kind == "O":
        array = np.asarray(
            values
        )  # a column of objects (pandas) that are all numbers or all booleans keeps their type
        array = array if array.ndim == 1 else np.array([str(label) for label in values])
    if array.dtype.kind not in "biufU":
        array = np.array([str(label) for label in values])
    classes, targets = np.unique(array, return_inverse=True)
    if len(classes) < 2:
        raise DataError(
            f"training needs at least two classes; got {len(classes)} "
            f"({', '.join(map(str, classes))})"
        )
    return classes, targets.astype(np.int64)


def _is_missing(label: Any) -> bool:
    """Whether a label is None, NaN, NaT or pandas' NA."""
    different = label != label
    return label is None or not isinstance(different, bool) or different
