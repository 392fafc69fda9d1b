"""Aggregation of the window scores of a long text into one score.

For two classes, the window with the highest log-odds of the positive class decides. A penalty times
log n is subtracted for n windows, so that long negatives are not flagged because of their length.
Derivation: if exactly one window makes a text positive, and each is equally likely, the odds of the
text are the mean of the windows' odds; the largest term of that mean corresponds to the penalty 1.
How much the maximum of n windows of a negative grows with n depends on the model:
decision/window_penalty.py fits the penalty on held-out rows. For more classes, the score is the
mean of the windows' logits.

Shapes: V windows of R texts, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

OVERLAP = 0.5
"""Share of a window that the next window repeats, so that at least one window has each sentence
whole."""

SIZES = 16
"""Window sizes are multiples of this."""


def size_for(lengths: NDArray[np.int64], context: int) -> int:
    """Return the window size in tokens: the 95th percentile of the lengths of the training texts.

    Windows are then as long as the texts that the model was trained on. In a window of the whole
    context, one sentence of the length of a message would have little weight.

    Args:
        lengths: tokens of the training texts, at least one.
        context: largest size; the smallest is twice SIZES.
    """
    wanted = int(np.ceil(np.quantile(lengths, 0.95) / SIZES)) * SIZES
    return min(max(wanted, 2 * SIZES), context)


@dataclass(frozen=True)
class WindowAggregation:
    """How the windows of a text become one score."""

    positive: int | None = None
    """Class number of the positive class of two; None: mean over windows."""
    penalty: float = 1.0
    """Penalty: this times log n is subtracted from the log-odds of the deciding window of n. Unused
    for the mean."""

    def __call__(self, logits: Tensor, counts: NDArray[np.int64]) -> Tensor:
        """Aggregate logits of windows, (V, K), in the order of the texts, to (R, K).

        `counts`, (R,), has the number of windows of each text.
        """
        if len(logits) == len(counts):
            return logits
        import torch  # an exported model aggregates arrays and has no torch

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
        """Return the index of the deciding window within each text, (R,) (the first of equal ones).

        For the mean, it is the window with the highest score for the predicted class.
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
    """Aggregates T texts whose windows are computed one by one, in any order.

    Gives the same scores as `WindowAggregation` does for all windows at once.
    """

    def __init__(self, texts: int, classes: int, aggregation: WindowAggregation) -> None:
        """Start without any window."""
        self.counts = np.zeros(texts, dtype=np.int64)
        self._aggregation, self._kept = aggregation, np.zeros((texts, classes))
        """(T, K) sum of a text's windows, or the deciding window so far"""

    def add(self, text: int, logits: NDArray[np.float64]) -> None:
        """Add one window of a text, (K,)."""
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
        """Return a text's score if each of the M rows of `values` were its last window, (M, K)."""
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
        """Return the scores, (T, K); every text must have a window."""
        if self._aggregation.positive is None:
            return self._kept / self.counts[:, None]
        lowered = np.zeros_like(self._kept)
        lowered[:, self._aggregation.positive] = self._aggregation.penalty * np.log(self.counts)
        return self._kept - lowered
