"""The share of each class: of the rows, of the training, and of the texts to come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe


def prior_shift(share: float, prior: float, place: int) -> NDArray[np.float64]:
    """(2,) added to the logits of two classes so that scores learnt at one share of the positive
    class hold at another.

    What a text says for a class stays; the odds before reading it change by the ratio of the two
    shares' odds (Elkan 2001, theorem 2). `share` and `prior` in (0, 1); `place` is the positive
    class's number.
    """
    shift = np.zeros(2)
    shift[place] = np.log(prior / (1 - prior)) - np.log(share / (1 - share))
    return shift


def log_prior_correction(rows: NDArray[Any], trained: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) added to logits to undo weights, undersampling and copies: log of each class's share of
    the rows over its share in the loss.

    Args:
        rows: (K,) training rows of each class.
        trained: (K,) the weight that each class had in training, in any unit.
    """
    shift = np.log(rows / rows.sum()) - np.log(trained / trained.sum())
    return (
        np.zeros(len(rows))
        if np.allclose(shift, 0, atol=1e-9)
        else np.asarray(shift - shift.mean())
    )


def keeps_class_weights(recipe: Recipe, classes: int) -> bool:
    """Whether the shares that weights or undersampling gave the classes are kept.

    Two classes have a threshold for what their scores mean; of more the most probable is taken, and
    weights that were undone in the scores would have done nothing at all.
    """
    return (
        classes > 2
        and recipe.decision.prior != "trained"
        and (recipe.train.class_weight != "none" or recipe.train.undersample)
    )
