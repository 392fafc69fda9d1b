"""The choice of the rows that are held out of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.data.splits import hold_out

FEWEST_HELD_OUT = 3
"""`fit` holds out no rows if the rarest class has fewer rows than this."""


def held_out(labels: Sequence[str], groups: NDArray[np.int64], recipe: Recipe) -> NDArray[np.int64]:
    """Return the numbers of the rows that a resolved recipe holds out.

    Returns none if the recipe uses folds, else a stratified share that keeps groups together. Also
    returns none if the share would contain almost no row of the rarest class and no false positive
    rate was requested: one or two rows can neither stop a training early nor set a threshold, and
    training needs them.
    """
    share, budget = recipe.data.validation_share, recipe.decision.max_fpr is not None
    if recipe.decision.cv_folds or not (
        budget or share * min(Counter(labels).values()) >= FEWEST_HELD_OUT
    ):
        share = 0.0
    return hold_out(labels, groups, share, seed=recipe.seed)
