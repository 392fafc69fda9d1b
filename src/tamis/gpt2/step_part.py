"""What a part of a training step carries while a thread computes it: random numbers of its own, and
the gradients of single rows of the embedding tables.

Parts of a step are computed side by side (`tamis.training.gradients`), so none of them may draw
from a generator that another one draws from. A table's gradient is a few rows: each part notes its
own, and they are added up when all parts are done; a table for each part would be mostly zeros.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_here = threading.local()

LEVELS = 1 << 16
"""Values of the 16 random bits that decide whether a number is dropped."""


class StepPart:
    """A part of a step."""

    def __init__(self, seed: Sequence[int]) -> None:
        """`seed`: of its random numbers."""
        self._random = np.random.SFC64(np.random.SeedSequence(seed))
        self.rows: dict[Tensor, list[tuple[Tensor, Tensor]]] = {}
        """Of every table: (N,) numbers of its rows and (N, C) gradients to add to them."""

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Compute in the calling thread as this part."""
        before, _here.part = current_part(), self
        try:
            yield
        finally:
            _here.part = before

    def uniform(self, count: int) -> Tensor:
        """(count,) numbers in [0, 1)."""
        return torch.from_numpy(np.random.Generator(self._random).random(count, dtype=np.float32))

    def dropout(self, shape: Sequence[int], share: float, dtype: torch.dtype) -> Tensor:
        """Return what activations are multiplied by: 0, or what keeps their expectation.

        A number is dropped if 16 random bits are below a limit: the share is rounded to the next
        65,536th, and the factor of the others belongs to the rounded share. torch's dropout draws
        64 bits and an exponent for each number, one after the other, and takes ten times as long.
        """
        count = int(np.prod(shape))
        bits: NDArray[np.int16] = self._random.random_raw((count + 3) // 4).view(np.int16)[:count]
        limit = min(round(share * LEVELS), LEVELS - 1)
        kept = (bits >= np.int16(limit - LEVELS // 2)).view(np.uint8)
        factor = np.float32(LEVELS / (LEVELS - limit))
        return torch.from_numpy(np.multiply(kept, factor, dtype=np.float32)).view(*shape).to(dtype)


def current_part() -> StepPart | None:
    """The part that the calling thread computes; None outside of one."""
    return getattr(_here, "part", None)


def uniform(count: int) -> Tensor:
    """(count,) numbers in [0, 1): the current part's, or those of torch's generator."""
    part = current_part()
    return torch.rand(count) if part is None else part.uniform(count)


def apply_dropout(values: Tensor, share: float, training: bool) -> Tensor:
    """Drop a share of the values in training: by the current part's random numbers, or torch's.

    Without a share nothing is called: a single message would call it nine times for nothing.
    """
    if not training or not share:
        return values
    part = current_part()
    if part is None or values.device.type != "cpu":
        return F.dropout(values, share)
    return values * part.dropout(values.shape, share, values.dtype)


def table_rows(weight: Tensor, ids: Tensor) -> Tensor:
    """(N,) -> (N, C): rows of a table. In a part, the gradient of a trained table is only noted."""
    part = current_part()
    if part is None or not (weight.requires_grad and weight.is_leaf):
        return F.embedding(ids, weight)
    found: Tensor = _TableRows.apply(weight, ids, part)  # type: ignore[no-untyped-call]
    return found


class _TableRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, part: StepPart) -> Tensor:
        ctx.part, ctx.weight = part, weight
        ctx.save_for_backward(ids)
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[None, None, None]:
        (ids,) = ctx.saved_tensors
        ctx.part.rows.setdefault(ctx.weight, []).append((ids, outputs[0]))
        return None, None, None
