"""Stratified folds that keep groups of rows together."""

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
    """At most `most` stratified folds that keep groups together and every class in every training
    part; none where that cannot be.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    smallest = min(len(np.unique(groups[targets == k])) for k in range(classes))
    if smallest < 2:
        return []
    splitter = StratifiedGroupKFold(n_splits=min(most, smallest), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # "least populated class": checked just below, on what matters
        folds = [
            (np.asarray(a), np.asarray(b)) for a, b in splitter.split(targets, targets, groups)
        ]
    complete = all(
        len(np.unique(targets[inside])) == classes and len(outside) for inside, outside in folds
    )
    return folds if complete else []


def folds_from_ids(parts: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The folds of rows whose (N,) fold numbers are given, as `stratified_group_folds` has them;
    none of a single one.
    """
    count = int(parts.max()) + 1
    return (
        [(np.flatnonzero(parts != n), np.flatnonzero(parts == n)) for n in range(count)]
        if count > 1
        else []
    )


def fold_ids(targets: Rows, groups: Rows, classes: int, folds: int, seed: int) -> Rows | None:
    """(R,) the fold in which each of R rows is judged; None where the rows are too few for any, or
    `folds` is 0.

    Args:
        targets: (R,) class numbers.
        groups: (R,) rows of one group are judged together.
        classes: K.
        folds: how many, at the most.
        seed: of the folds.
    """
    divided = stratified_group_folds(targets, groups, classes, seed, most=folds) if folds else []
    if not divided:
        return None
    parts = np.empty(len(targets), dtype=np.int64)
    for number, (_, outside) in enumerate(divided):
        parts[outside] = number
    return parts
