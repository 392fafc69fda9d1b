"""Query strategies of active learning: choose unlabelled rows that are uncertain and diverse.

Shapes: N rows, C channels, K classes. Features have length one, as in head/linear_head.py. The same
seed gives the same rows. benchmarks/labelling compares the strategies.

Source: Zhdanov, "Diverse mini-batch active learning", 2019.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Rows = NDArray[np.int64]
Strategy = Literal["clusters", "margin", "random"]
STRATEGIES: tuple[Strategy, ...] = ("clusters", "margin", "random")
AHEAD = 10
"""`clusters` considers the AHEAD * count most uncertain rows."""


def uncertainty(
    probabilities: Matrix, *, positive: int | None = None, threshold: float | None = None
) -> Matrix:
    """(N, K) -> (N,) in [0, 1]: 1 at the decision boundary, 0 if the label is certain.

    This is 1 minus the difference between the two highest probabilities. With a threshold on
    P(positive), probabilities are first shifted so that the threshold is at 0.5.
    """
    shifted = (
        probabilities
        if positive is None or threshold is None
        else centred(probabilities, positive, threshold)
    )
    top = np.partition(shifted, -2, axis=1)[:, -2:]
    return np.asarray(1.0 - (top[:, 1] - top[:, 0]))


def centred(probabilities: Matrix, positive: int, threshold: float) -> Matrix:
    """(N, 2) -> (N, 2): divide the odds by those of the threshold, so that the decision boundary is
    at 0.5.
    """
    share = probabilities[:, positive] * (1.0 - threshold)
    rest = probabilities[:, 1 - positive] * threshold
    moved = share / np.maximum(share + rest, 1e-300)
    found = np.empty_like(probabilities)
    found[:, positive], found[:, 1 - positive] = moved, 1.0 - moved
    return found


def select(
    features: Matrix,
    probabilities: Matrix,
    count: int,
    *,
    strategy: Strategy = "clusters",
    seed: int = 42,
) -> Rows:
    """Choose at most `count` rows to label next, the most useful first.

    clusters    k-means with `count` clusters on the most uncertain rows; from each cluster the most
                central of its uncertain rows
    margin      the most uncertain rows, similar or not
    random      a random sample

    Args:
        features: (N, C) of length one.
        probabilities: (N, K) with the decision boundary at 0.5 (`centred`).
        count: number of rows.
        strategy: one of the above.
        seed: seed of random draws.
    """
    count = min(count, len(features))
    if count == 0:
        return np.empty(0, dtype=np.int64)
    if strategy == "random":
        random = np.random.default_rng(seed)
        return random.permutation(len(features))[:count].astype(np.int64)
    uncertain = uncertainty(probabilities)
    order = np.argsort(-uncertain, kind="stable")
    if strategy == "margin":
        return order[:count]
    return _clusters(features, uncertain, order[: AHEAD * count], count, seed)


def _clusters(features: Matrix, uncertain: Matrix, ahead: Rows, count: int, seed: int) -> Rows:
    """From each cluster of the rows `ahead`, the most central of its uncertain rows; sorted by
    uncertainty.
    """
    from sklearn.cluster import KMeans

    if len(ahead) <= count:
        return ahead
    weights = np.maximum(uncertain[ahead], 1e-6)
    means = KMeans(count, n_init=1, random_state=seed).fit(features[ahead], sample_weight=weights)
    away = means.transform(features[ahead])[np.arange(len(ahead)), means.labels_]
    best = []
    for k in range(count):
        own = np.flatnonzero(means.labels_ == k)
        if len(own):
            own = own[weights[own] >= weights[own].max() / 2]
            best.append(int(own[away[own].argmin()]))
    rest = [row for row in range(len(ahead)) if row not in set(best)][: count - len(best)]
    return ahead[sorted(best) + rest]
