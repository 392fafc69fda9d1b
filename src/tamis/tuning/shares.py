"""What a row weighs in training by its class, and what each class weighs in all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.tuning.tuned import Rows


def class_weights(recipe: Recipe, targets: Rows, classes: list[str]) -> NDArray[np.float64]:
    """(K,) weight of a row by its class.

    Raises:
        ConfigError: a weight names no class of the data.
    """
    wanted = recipe.train.class_weight
    if wanted == "balanced" and recipe.train.undersample:
        return np.ones(len(classes))  # what is trained on is balanced already; weights on top would turn the imbalance round
    if wanted == "balanced":
        return np.asarray(len(targets) / (len(classes) * np.bincount(targets, minlength=len(classes))))
    if isinstance(wanted, dict):
        unknown = sorted(set(wanted) - set(classes))
        if unknown:
            raise ConfigError(f"train.class_weight names {unknown[0]!r}, which is not one of the labels {classes}")
        return np.array([wanted.get(label, 1.0) for label in classes])
    return np.ones(len(classes))


def trained_shares(recipe: Recipe, targets: Rows, copied: Rows, classes: list[str]) -> NDArray[np.float64]:
    """(K,) what each class weighs in training beside the others, in any unit: rows and copies, weights, undersampling.

    Args:
        recipe: resolved.
        targets: class numbers of the rows that are fitted.
        copied: class numbers of their attacked copies.
        classes: K labels.
    """
    exact = recipe.tune == "head" and recipe.train.head == "exact"
    rows, copies = (np.bincount(part, minlength=len(classes)).astype(np.float64) for part in (targets, copied))
    trained = rows + copies * (recipe.train.attacked_weight if exact else 1.0)
    if recipe.train.undersample and not exact:
        trained[:] = 1.0
    return np.asarray(trained * class_weights(recipe, targets, classes))
