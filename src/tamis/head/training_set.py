"""The labelled rows of a training: encoded texts, classes, groups, folds and augmented copies.

Shapes: R rows, M augmented copies, K classes. Row numbers refer to the R + M encoded texts; the
copies come after the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tamis.head.result import Rows
from tamis.text.encoding import EncodedTexts


def no_rows() -> Rows:
    """Return (0,) row numbers."""
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class TrainingSet:
    """Everything a training needs besides backbone and recipe."""

    texts: EncodedTexts
    """(R + M) texts, the rows first, then their copies"""
    targets: Rows
    """(R + M,) class numbers"""
    classes: tuple[str, ...]
    """K labels"""
    class_weights: NDArray[np.float64]
    """(K,) weight of a row by its class"""
    groups: Rows
    """(R + M,) rows of one group never cross a fold"""
    train: Rows
    """Rows to learn from, the validation rows among them."""
    copies: Rows = field(default_factory=no_rows)
    """Augmented copies of rows that are fitted; nothing is evaluated on them."""
    validation: Rows = field(default_factory=no_rows)
    """Rows of `train` that are held out."""
    fold_ids: Rows | None = None
    """(len(train),) fold in which each row of `train` is scored; its copies leave with it."""
    retokenize: Callable[[int], EncodedTexts] | None = None
    """Gives the texts cut into other tokens for an epoch, numbered from 0 (BPE-dropout)."""
    concatenate_negatives: Callable[[Rows], EncodedTexts] | None = None
    """Gives windows of long texts, concatenated from the negatives among some rows
    (decision/window_penalty.py)."""
    row_weights: NDArray[np.float64] | None = None
    """(R + M,) further weight of each row in the loss; None: 1."""

    @property
    def fitted(self) -> Rows:
        """Rows of `train` that are not held out."""
        return np.setdiff1d(self.train, self.validation)

    def weights_of(self, rows: Rows) -> NDArray[np.float64]:
        """Return the weights of some rows or copies, without class weights."""
        return np.ones(len(rows)) if self.row_weights is None else self.row_weights[rows]

    def only(self, train: Rows, copies: Rows) -> TrainingSet:
        """Return the same texts with other training rows, without validation rows and folds."""
        return replace(self, train=train, copies=copies, validation=no_rows(), fold_ids=None)
