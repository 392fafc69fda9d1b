"""Class weights and undersampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.head.result import Rows


def class_weights(
    recipe: Recipe,
    targets: Rows,
    classes: Sequence[str],
    row_weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the (K,) weight of a row by its class. With `row_weights` (R,), `balanced` gives every
    class the same total weight.

    Raises:
        ConfigError: a weight is given for a label that does not occur.
    """
    wanted = recipe.train.class_weight
    if wanted == "balanced" and recipe.train.undersample:
        return np.ones(
            len(classes)
        )  # what is trained on is balanced already; weights on top would turn the imbalance round
    if wanted == "balanced":
        totals = np.bincount(targets, row_weights, minlength=len(classes))
        return np.asarray(totals.sum() / (len(classes) * totals))
    if isinstance(wanted, dict):
        unknown = sorted(set(wanted) - set(classes))
        if unknown:
            raise ConfigError(
                f"train.class_weight names {unknown[0]!r}, which is not one of the labels "
                f"{list(classes)}"
            )
        return np.array([wanted.get(label, 1.0) for label in classes])
    return np.ones(len(classes))


def undersampled(targets: Rows, seed: int) -> Rows:
    """Return the sorted (M,) numbers of as many rows of every class as the rarest one has, drawn
    with `seed`; `targets` (N,) class numbers.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(targets))
    counts = np.bincount(targets)
    fewest = counts[counts > 0].min()
    kept = np.concatenate([order[targets[order] == k][:fewest] for k in range(len(counts))])
    return np.asarray(np.sort(kept))


def effective_class_weights(
    recipe: Recipe,
    targets: Rows,
    copied: Rows,
    classes: Sequence[str],
    row_weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the (K,) total weight of each class in training, in any unit, from rows, copies, class
    weights and undersampling.

    Args:
        recipe: resolved.
        targets: class numbers of the training rows.
        copied: class numbers of their augmented copies.
        classes: K labels.
        row_weights: further weights of the training rows and their copies, in this order.
    """
    exact = recipe.tune == "head" and recipe.train.head_solver == "lbfgs"
    every = np.concatenate([targets, copied])
    weights = np.where(
        np.arange(len(every)) < len(targets), 1.0, recipe.train.augment_weight if exact else 1.0
    )
    own = None
    if row_weights is not None:
        weights, own = weights * row_weights, row_weights[: len(targets)]
    # The loop draws anew each epoch, always as many; copies may weigh less, so for the exact head
    # it matters which were drawn.
    kept = undersampled(every, recipe.seed) if recipe.train.undersample else np.arange(len(every))
    trained = np.bincount(every[kept], weights[kept], minlength=len(classes))
    return np.asarray(trained * class_weights(recipe, targets, classes, own))
