"""Parts of a training step computed side by side on the CPU, a thread each.

Threads that share a matrix product wait for each other after it, so that another program which
delays one of them delays all. Threads with a part of the step each wait twice a step: when all
parts are done, and when all gradients are summed. The parts, their random numbers and the order of
every sum depend on the rows alone, so the result has the same bytes with any load, and with any
number of threads of which each computes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.compute.parallel import Threads
from tamis.gpt2.step_part import StepPart

PARTS, LEAST_TOKENS, MOST_TOKENS = 2, 64, 2048
"""Parts of a step; fewer where they would have fewer tokens, more where they would have more.

Each part reads all matrices once and writes all gradients: with four parts, a step of 500 tokens of
`nano` cost a seventh more processor time than with two."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Threads for the parts of steps, as many as torch computes with, but not more than parts."""

    def __init__(self) -> None:
        """Start none yet."""
        self._threads: Threads | None = None
        self._set_to = 0

    def map(self, call: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return `call` of each item, in their order; in the calling thread if that has one torch
        thread, or if there are fewer items than threads.
        """
        available = torch.get_num_threads()
        count = min(available, PARTS)
        if len(items) < count or count < 2:
            return [call(item) for item in items]
        if self._threads is None or self._set_to != available:
            self.close()
            self._threads, self._set_to = Threads(count, available // count), available
        return self._threads.map(call, items)

    def close(self) -> None:
        """Stop the threads; the next call starts new ones."""
        if self._threads is not None:
            self._threads.close()
            self._threads = None


def divide(
    rows: NDArray[np.int64], tokens: NDArray[np.int64], processes: int = 1
) -> list[NDArray[np.int64]]:
    """Divide rows into parts of about as many tokens, the shortest rows first.

    Rows of similar length are in the same part, so that its attention has few lengths.

    Args:
        rows: (R,) numbers of rows.
        tokens: (R,) tokens of each of them.
        processes: there are as many parts at least, if the rows suffice.
    """
    total = int(tokens.sum())
    wanted = max(PARTS, processes, -(-total // MOST_TOKENS))
    count = min(wanted, max(1, total // LEAST_TOKENS), len(rows))
    order = np.argsort(tokens, kind="stable")
    # A row belongs to the part in which the middle of its tokens lies.
    middles = np.cumsum(tokens[order]) - tokens[order] / 2
    part = np.minimum(middles * count // total, count - 1).astype(np.int64)
    found = [rows[order[part == number]] for number in range(count)]
    return [some for some in found if len(some)]


@torch.no_grad()
def add_gradient(
    weight: Tensor, parts: Sequence[tuple[StepPart, Tensor | None]], tables: dict[Tensor, Tensor]
) -> None:
    """Add the gradients of all parts to that of a weight, in their order.

    Args:
        weight: has the gradient; it may have none yet.
        parts: every part, with its gradient of the weight, if it has one; its own afterwards.
        tables: of each table of which parts noted single rows, its gradient in the last step. The
            next one has the same memory: new memory of that size would cost more than the sums.
    """
    found = weight.grad
    for _, own in parts:
        if own is not None:
            found = own if found is None else found.add_(own)
    for part, _ in parts:
        for ids, added in part.rows.get(weight, ()):
            if found is None:
                known = tables.get(weight)
                found = torch.zeros_like(weight) if known is None else known.zero_()
                tables[weight] = found
            found.index_add_(0, ids, added.to(found.dtype))
    weight.grad = found
