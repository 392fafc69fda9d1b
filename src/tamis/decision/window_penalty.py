"""Learn the penalty for many windows from concatenated held-out negatives.

The strongest of many windows counts, and among a hundred windows of a negative text one may look
positive. How often this happens differs by model, so it is measured: held-out negatives are
concatenated, cut into windows, and the upper tail of the log-odds relative to the threshold is
fitted with a generalized Pareto distribution. Its quantiles give the largest of n windows.

Sources: Pickands 1975, "Statistical inference using extreme order statistics"; Hosking and Wallis
1987, "Parameter and quantile estimation for the generalized Pareto distribution"
(probability-weighted moments).

Shapes: V windows, H held-out rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROUNDS, CHARACTERS = 4, 160_000
"""Orders in which held-out negatives are joined, each cut elsewhere; no further one is begun when
the texts have so many characters."""
TAIL = 0.2
"""Share of the windows taken for the tail."""
LEAST_WINDOWS = 800
"""Of fewer nothing is learnt: where all ROUNDS were joined, two hundred of them are different, and
their tail is forty."""
WINDOWS, FALSE_ALARMS = (32, 128), 0.025
"""For texts of so many windows, the share of negatives that may be flagged."""
LOST = 0.1
"""Share of the held-out positives that are flagged alone which the penalty of the most windows may
take: a message hidden in a long text has to be found."""
LOWEST, HIGHEST = 0.4, 1.5
"""Between which the penalty stays: a tail of a few dozen windows is no reason to go further from
the 1 of theory."""


def concatenate_negatives(texts: Sequence[str], seed: int) -> list[str]:
    """Return long texts: the given texts joined by spaces, in up to ROUNDS orders; none for no
    texts.
    """
    random, characters = np.random.default_rng(seed), 0
    found: list[str] = []
    while texts and len(found) < ROUNDS and characters < CHARACTERS:
        order = random.permutation(len(texts))
        chosen = []
        for place in order.tolist():
            chosen.append(texts[place])
            characters += len(texts[place]) + 1
            if characters >= CHARACTERS:
                break
        found.append(" ".join(chosen))
    return found


def penalty(windows: NDArray[np.float64], positives: NDArray[np.float64]) -> float | None:
    """Return the multiple of log n by which the largest of n windows is lowered; None for too few
    windows.

    Args:
        windows: (V,) log-odds of the positive class relative to the threshold, of windows of
            concatenated negatives.
        positives: (P,) the same of held-out positives.
    """
    if len(windows) < LEAST_WINDOWS:
        return None
    wanted = max(
        tail_quantile(windows, 1 - (1 - FALSE_ALARMS) ** (1 / n)) / np.log(n) for n in WINDOWS
    )
    found = positives[positives >= 0]
    most = float(np.quantile(found, LOST)) / np.log(max(WINDOWS)) if len(found) else HIGHEST
    return round(float(np.clip(min(wanted, most), LOWEST, HIGHEST)), 3)


def tail_quantile(values: NDArray[np.float64], share: float) -> float:
    """Return the value that a `share` (at most TAIL) of such values exceeds, by a generalized
    Pareto distribution fitted to the upper tail.
    """
    start = float(np.quantile(values, 1 - TAIL))
    beyond = np.sort(values[values > start] - start)
    count = len(beyond)
    if count < 2:
        return start
    first = float(beyond.mean())
    second = float((beyond * (count - 1 - np.arange(count)) / (count - 1)).mean())
    if (
        first <= 2 * second
    ):  # no distribution of the family has such moments: all of the tail in one place
        return start + first
    shape = 2 - first / (first - 2 * second)
    scale = 2 * first * second / (first - 2 * second)
    ratio = count / len(values) / share
    return start + (
        scale * float(np.log(ratio)) if abs(shape) < 1e-9 else scale / shape * (ratio**shape - 1)
    )
