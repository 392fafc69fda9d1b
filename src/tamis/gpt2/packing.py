"""Batches of messages of different lengths without padding.

A packed batch concatenates its messages, sorted by length. All layers except attention work on the
(N, C) matrix of all tokens. Attention works on runs of equal length as (rows, length) blocks, so it
needs no mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.errors import DataError

Ids = NDArray[Any]
"""Token ids of one message, (T,) integers."""


@dataclass(frozen=True)
class Group:
    """A run of messages of equal length in a packed batch."""

    start: int
    """Index of the run's first token in the packed batch."""
    rows: int
    """Number of messages in the run."""
    length: int
    """Tokens of each message in the run."""

    @property
    def stop(self) -> int:
        """Index after the run's last token."""
        return self.start + self.rows * self.length


@dataclass(frozen=True)
class Packed:
    """A batch of B messages with N tokens in total.

    Messages are sorted by length; `restore` returns (B, ...) results to the caller's order.
    """

    ids: Tensor
    """(N,) int64, token ids."""
    positions: Tensor
    """(N,) int64, position of each token in its message."""
    last: Tensor
    """(B,) int64, index of each message's last token."""
    groups: tuple[Group, ...]
    """Runs of equal length, in packed order."""
    order: NDArray[np.int64]
    """(B,) for each packed row, its index in the caller's order."""
    inverse: Tensor
    """(B,) int64, for each row of the caller, its index in packed order."""

    @property
    def rows(self) -> int:
        """Number of messages."""
        return len(self.order)

    @property
    def tokens(self) -> int:
        """Number of tokens of all messages."""
        return len(self.ids)

    @property
    def longest(self) -> int:
        """Number of tokens of the longest message."""
        return self.groups[-1].length

    def split(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Split (N, ...) into one tensor per group.

        One call for all groups: the gradient of each slice would allocate a full (N, ...).
        """
        return torch.split_with_sizes(tokens, [group.rows * group.length for group in self.groups])

    def restore(self, rows: Tensor) -> Tensor:
        """(B, ...) in packed order -> (B, ...) in the caller's order."""
        return rows.index_select(0, self.inverse)

    def to(self, device: torch.device | str) -> Packed:
        """Return the batch with its tensors on `device`."""
        if self.ids.device == torch.device(device):
            return self
        moved = (t.to(device) for t in (self.ids, self.positions, self.last))
        ids, positions, last = moved
        return Packed(ids, positions, last, self.groups, self.order, self.inverse.to(device))


def pack(messages: Sequence[Ids]) -> Packed:
    """Pack messages of any lengths into one batch.

    Args:
        messages: B non-empty arrays of token ids.

    Raises:
        DataError: there is no message, or a message has no token.
    """
    lengths = np.fromiter((len(ids) for ids in messages), dtype=np.int64, count=len(messages))
    if len(lengths) == 0:
        raise DataError("a batch needs at least one message; got none")
    if lengths.min() == 0:
        raise DataError(
            f"message {int(lengths.argmin())} of the batch has no token; an empty text needs a "
            "leading <|endoftext|>"
        )
    order = np.argsort(lengths, kind="stable")
    lengths = lengths[order]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    ids = np.concatenate([messages[i] for i in order]).astype(np.int64, copy=False)
    positions = np.arange(ends[-1]) - np.repeat(starts, lengths)
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return Packed(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        last=torch.from_numpy(ends - 1),
        groups=_runs(lengths, starts),
        order=order,
        inverse=torch.from_numpy(inverse),
    )


def _runs(lengths: NDArray[np.int64], starts: NDArray[np.int64]) -> tuple[Group, ...]:
    first = np.flatnonzero(np.diff(lengths, prepend=-1))
    counts = np.diff(first, append=len(lengths))
    return tuple(
        Group(start=int(starts[i]), rows=int(n), length=int(lengths[i]))
        for i, n in zip(first, counts, strict=True)
    )


def by_length(
    lengths: Sequence[int] | NDArray[np.int64], max_tokens: int
) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers in batches of at most `max_tokens` tokens, longest first.

    Equal lengths are adjacent. A message longer than `max_tokens` is a batch by itself. For
    inference only: training needs batches of random composition, because length correlates with the
    class (see `tamis.training.loop`).
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    yield from batch_by_tokens(order, lengths, max_tokens)


def batch_by_tokens(
    order: NDArray[np.int64], lengths: NDArray[np.int64], max_tokens: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the given rows, in the given order, in batches of at most `max_tokens` tokens.

    No batch is empty.
    """
    begin, tokens = 0, 0
    for place, row in enumerate(order):
        if tokens and tokens + lengths[row] > max_tokens:
            yield order[begin:place]
            begin, tokens = place, 0
        tokens += int(lengths[row])
    if begin < len(order):
        yield order[begin:]
