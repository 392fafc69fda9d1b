"""One score from a long text's windows: by a rule that knows how many there are.

Two classes: the window that speaks most for the positive class decides, and its log-odds are
lowered by a penalty times log n for n windows. Were a text positive by one window alone, equally
likely any of them, its odds would be the mean of the windows' odds; the largest term of that mean
has the penalty 1. The more windows a text has, the more one must stand out, so that long negatives
are not flagged for their length. How far the largest of n windows of a negative does differs by
model: decision/window_penalty.py learns it from held-out rows. More classes: the mean of the
windows' logits.

Shapes: V windows of R texts, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

OVERLAP = 0.5
"""Share of a window that the next one holds again, so that a sentence stands whole in one of
them."""

SIZES = 16
"""A window's size is a multiple of this."""


def size_for(lengths: NDArray[np.int64], context: int) -> int:
    """Tokens of a window: as many as 95 of 100 training texts have at the most, so that a window is
    like what the model was trained on.

    In a window of the whole context a sentence of the length of a message would drown (`lengths`:
    tokens of the training texts, at least one; never more than `context`, nor fewer than twice
    SIZES).
    """
    wanted = int(np.ceil(np.quantile(lengths, 0.95) / SIZES)) * SIZES
    return min(max(wanted, 2 * SIZES), context)


@dataclass(frozen=True)
class WindowAggregation:
    """How windows become one score."""

    positive: int | None = None
    """Class number of the positive class of two; None: the mean."""
    penalty: float = 1.0
    """Times log n taken from the log-odds of the window that decides among n; without meaning where
    the mean does."""

    def __call__(self, logits: Tensor, counts: NDArray[np.int64]) -> Tensor:
        """(V, K) logits, text after text, and (R,) windows of each text -> (R, K)."""
        if len(logits) == len(counts):
            return logits
        numbers = torch.from_numpy(counts).to(logits.device)
        if self.positive is None:
            owner = torch.repeat_interleave(
                torch.arange(len(counts), device=logits.device), numbers
            )
            sums = logits.new_zeros((len(counts), *logits.shape[1:])).index_add(0, owner, logits)
            return sums / numbers.to(logits.dtype)[:, None]
        place = self.deciding(logits.detach().cpu().numpy(), counts) + np.cumsum(counts) - counts
        chosen = logits.index_select(0, torch.from_numpy(place).to(logits.device))
        lowered = torch.zeros_like(chosen)
        lowered[:, self.positive] = self.penalty * numbers.to(logits.dtype).log()
        return chosen - lowered

    def deciding(self, logits: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """(R,) number of the window within its text that decides (the first of equal ones).

        With the mean it is the one that speaks most for the class that the mean chooses.
        """
        owner = np.repeat(np.arange(len(counts)), counts)
        if self.positive is None:
            sums = np.zeros((len(counts), logits.shape[1]))
            np.add.at(sums, owner, logits)
            chosen = sums.argmax(1)[owner]
            others = logits.copy()
            others[np.arange(len(logits)), chosen] = -np.inf
            margin = logits[np.arange(len(logits)), chosen] - others.max(1)
        else:
            margin = logits[:, self.positive] - logits[:, 1 - self.positive]
        first = np.cumsum(counts) - counts
        number = np.arange(len(logits)) - first[owner]
        order = np.lexsort((-number, margin, owner))
        return np.asarray(number[order[np.cumsum(counts) - 1]])


class RunningAggregation:
    """Scores of T texts whose windows are computed one by one, in any order: what
    `WindowAggregation` gives for all of them at once.
    """

    def __init__(self, texts: int, classes: int, aggregation: WindowAggregation) -> None:
        """Nothing computed yet."""
        self.counts = np.zeros(texts, dtype=np.int64)
        self._aggregation, self._kept = aggregation, np.zeros((texts, classes))
        """(T, K) the sum of a text's windows, or the one that decides so far"""

    def add(self, text: int, logits: NDArray[np.float64]) -> None:
        """One window of a text, (K,)."""
        place = self._aggregation.positive
        self.counts[text] += 1
        if place is None:
            self._kept[text] += logits
        elif (
            self.counts[text] == 1
            or logits[place] - logits[1 - place]
            > self._kept[text, place] - self._kept[text, 1 - place]
        ):
            self._kept[text] = logits

    def with_one_more(self, text: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(M, K) what a text's score would be if its next window, and last, gave each of the M rows
        of `values`.
        """
        place, count = self._aggregation.positive, self.counts[text] + 1
        if place is None:
            return np.asarray((self._kept[text] + values) / count)
        stronger = (
            values[:, place] - values[:, 1 - place]
            > self._kept[text, place] - self._kept[text, 1 - place]
        )
        pooled = np.where((stronger | (count == 1))[:, None], values, self._kept[text])
        pooled[:, place] -= self._aggregation.penalty * np.log(count)
        return pooled

    def logits(self) -> NDArray[np.float64]:
        """(T, K); every text has had a window."""
        if self._aggregation.positive is None:
            return self._kept / self.counts[:, None]
        lowered = np.zeros_like(self._kept)
        lowered[:, self._aggregation.positive] = self._aggregation.penalty * np.log(self.counts)
        return self._kept - lowered
