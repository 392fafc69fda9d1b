"""Stratified cross-validation folds that keep groups of rows together."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


FOLDS = 5


def stratified_group_folds(
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    classes: int,
    seed: int,
    *,
    most: int = FOLDS,
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return at most `most` stratified folds that keep groups together.

    Every training part contains every class. Returns an empty list if that is impossible.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    smallest = min(len(np.unique(groups[targets == k])) for k in range(classes))
    if smallest < 2:
        return []
    splitter = StratifiedGroupKFold(n_splits=min(most, smallest), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # the check below replaces scikit-learn's warning "least populated class"
        folds = [
            (np.asarray(a), np.asarray(b)) for a, b in splitter.split(targets, targets, groups)
        ]
    complete = all(
        len(np.unique(targets[inside])) == classes and len(outside) for inside, outside in folds
    )
    return folds if complete else []


def folds_from_ids(parts: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the folds for (N,) fold numbers, in the form of `stratified_group_folds`.

    Returns an empty list if there is only one fold.
    """
    count = int(parts.max()) + 1
    return (
        [(np.flatnonzero(parts != n), np.flatnonzero(parts == n)) for n in range(count)]
        if count > 1
        else []
    )


def fold_ids(targets: Rows, groups: Rows, classes: int, folds: int, seed: int) -> Rows | None:
    """Return the fold that holds out each row, (R,).

    Returns None if there are too few rows for folds, or if `folds` is 0.

    Args:
        targets: (R,) class numbers.
        groups: (R,) group numbers; rows of one group are in the same fold.
        classes: K, number of classes.
        folds: largest number of folds.
        seed: seed of the folds.
    """
    divided = stratified_group_folds(targets, groups, classes, seed, most=folds) if folds else []
    if not divided:
        return None
    parts = np.empty(len(targets), dtype=np.int64)
    for number, (_, outside) in enumerate(divided):
        parts[outside] = number
    return parts
