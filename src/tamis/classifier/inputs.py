"""What users hand to `fit` and `predict`, checked: texts as a list of strings, labels as class numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.data.deduplication import normalise
from tamis.data.splits import hold_out
from tamis.errors import DataError


def as_texts(texts: Any) -> tuple[list[str], bool]:
    """A list of strings, and whether a single string was given.

    Raises:
        DataError: an item is not a string.
    """
    if isinstance(texts, str):
        return [texts], True
    listed = list(texts)
    for i, text in enumerate(listed):
        if not isinstance(text, str):
            raise DataError(f"texts[{i}]: expected a string, got {type(text).__name__} ({text!r:.40}); convert or drop the row")
    return [str(text) for text in listed], False


def targets_of(texts: list[str], labels: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Sorted distinct labels and (R,) class numbers.

    Raises:
        DataError: the lengths differ, a label is missing, or there are fewer than two classes.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or len(array) != len(texts):
        raise DataError(f"labels must be one for each of the {len(texts)} texts; got an array of shape {array.shape}")
    values = array.tolist()
    missing = [i for i, label in enumerate(values) if _is_missing(label)]
    if missing:
        raise DataError(f"labels[{missing[0]}] is missing; label the row or drop it")
    if array.dtype.kind == "O":
        array = np.asarray(values)  # a column of objects (pandas) that are all numbers or all booleans keeps their type
        array = array if array.ndim == 1 else np.array([str(label) for label in values])
    if array.dtype.kind not in "biufU":
        array = np.array([str(label) for label in values])
    classes, targets = np.unique(array, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"training needs at least two classes; got {len(classes)} ({', '.join(map(str, classes))})")
    return classes, targets.astype(np.int64)


def _is_missing(label: Any) -> bool:
    """Whether a label is None, NaN, NaT or pandas' NA."""
    different = label != label
    return label is None or not isinstance(different, bool) or different


def repeats(texts: list[str]) -> NDArray[np.int64]:
    """(R,) the same number for texts that are the same once case, digits and punctuation do not count."""
    return np.unique([normalise(text) for text in texts], return_inverse=True)[1].astype(np.int64)


FEWEST_HELD_OUT = 3
"""Rows of the rarest class below which `fit` holds none out."""


def held_out(labels: Sequence[str], groups: NDArray[np.int64], recipe: Recipe) -> NDArray[np.int64]:
    """Numbers of the rows to hold out by a resolved recipe: none with folds, else a stratified share that keeps groups together.

    None too where the share would hold out next to nothing of the rarest class and no budget of blocked ham asks for a threshold: a row or
    two would neither stop a training in time nor place a threshold, and they are missed in training.
    """
    share, budget = recipe.data.validation_share, recipe.verdict.max_blocked is not None
    if recipe.verdict.folds or not (budget or share * min(Counter(labels).values()) >= FEWEST_HELD_OUT):
        share = 0.0
    return hold_out(labels, groups, share, seed=recipe.seed)
