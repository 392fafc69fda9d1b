"""Class priors: of the rows, of the training, and of future texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe


def prior_shift(share: float, prior: float, place: int) -> NDArray[np.float64]:
    """Return the (2,) shift of the logits of two classes from one share of the positive class to
    another.

    The likelihood ratio of a text does not change; the prior odds change by the ratio of the odds
    of both shares (Elkan 2001, theorem 2). `share` and `prior` in (0, 1); `place` is the number of
    the positive class.
    """
    shift = np.zeros(2)
    shift[place] = np.log(prior / (1 - prior)) - np.log(share / (1 - share))
    return shift


def log_prior_correction(rows: NDArray[Any], trained: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (K,) shift of the logits that undoes class weights, undersampling and copies: log
    of the share of each class in the rows over its share in the loss.

    Args:
        rows: (K,) training rows of each class.
        trained: (K,) total weight of each class in training, in any unit.
    """
    shift = np.log(rows / rows.sum()) - np.log(trained / trained.sum())
    return (
        np.zeros(len(rows))
        if np.allclose(shift, 0, atol=1e-9)
        else np.asarray(shift - shift.mean())
    )


def keeps_class_weights(recipe: Recipe, classes: int) -> bool:
    """Return whether the class weights keep their effect on the scores.

    For two classes, the effect is undone and the threshold decides. For more classes, the most
    probable one is predicted, and class weights without effect on the scores would have no effect
    at all.
    """
    return (
        classes > 2
        and recipe.decision.prior != "trained"
        and (recipe.train.class_weight != "none" or recipe.train.undersample)
    )
