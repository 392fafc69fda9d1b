"""Which rows are held out of a training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.data.splits import hold_out

FEWEST_HELD_OUT = 3
"""Rows of the rarest class below which `fit` holds none out."""


def held_out(labels: Sequence[str], groups: NDArray[np.int64], recipe: Recipe) -> NDArray[np.int64]:
    """Numbers of the rows to hold out by a resolved recipe: none with folds, else a stratified
    share that keeps groups together.

    None too where the share would hold out next to nothing of the rarest class and no budget of
    blocked ham asks for a threshold: a row or two would neither stop a training in time nor place a
    threshold, and they are missed in training.
    """
    share, budget = recipe.data.validation_share, recipe.decision.max_fpr is not None
    if recipe.decision.cv_folds or not (
        budget or share * min(Counter(labels).values()) >= FEWEST_HELD_OUT
    ):
        share = 0.0
    return hold_out(labels, groups, share, seed=recipe.seed)
