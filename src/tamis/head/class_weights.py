"""What a row weighs in training by its class, which rows are left out, and what each class weighs
in all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.head.result import Rows


def class_weights(recipe: Recipe, targets: Rows, classes: list[str]) -> NDArray[np.float64]:
    """(K,) weight of a row by its class.

    Raises:
        ConfigError: a weight names no class of the data.
    """
    wanted = recipe.train.class_weight
    if wanted == "balanced" and recipe.train.undersample:
        return np.ones(
            len(classes)
        )  # what is trained on is balanced already; weights on top would turn the imbalance round
    if wanted == "balanced":
        return np.asarray(
            len(targets) / (len(classes) * np.bincount(targets, minlength=len(classes)))
        )
    if isinstance(wanted, dict):
        unknown = sorted(set(wanted) - set(classes))
        if unknown:
            raise ConfigError(
                f"train.class_weight names {unknown[0]!r}, which is not one of the labels {classes}"
            )
        return np.array([wanted.get(label, 1.0) for label in classes])
    return np.ones(len(classes))


def undersampled(targets: Rows, seed: int) -> Rows:
    """(M,) numbers, rising, of as many rows of every class as the rarest has, drawn by seed;
    `targets` (N,) class numbers.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(targets))
    counts = np.bincount(targets)
    fewest = counts[counts > 0].min()
    kept = np.concatenate([order[targets[order] == k][:fewest] for k in range(len(counts))])
    return np.asarray(np.sort(kept))


def effective_class_weights(
    recipe: Recipe, targets: Rows, copied: Rows, classes: list[str]
) -> NDArray[np.float64]:
    """(K,) what each class weighs in training beside the others, in any unit: rows and copies,
    weights, undersampling.

    Args:
        recipe: resolved.
        targets: class numbers of the rows that are fitted.
        copied: class numbers of their attacked copies.
        classes: K labels.
    """
    exact = recipe.tune == "head" and recipe.train.head_solver == "lbfgs"
    every = np.concatenate([targets, copied])
    weights = np.where(
        np.arange(len(every)) < len(targets), 1.0, recipe.train.augment_weight if exact else 1.0
    )
    # The loop draws anew each epoch, always as many; copies may weigh less, so for the exact head
    # it matters which were drawn.
    kept = undersampled(every, recipe.seed) if recipe.train.undersample else np.arange(len(every))
    trained = np.bincount(every[kept], weights[kept], minlength=len(classes))
    return np.asarray(trained * class_weights(recipe, targets, classes))
