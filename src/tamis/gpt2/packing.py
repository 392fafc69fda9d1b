"""Messages of many lengths in one batch, without padding.

A packed batch is the concatenation of its messages, sorted by length. Everything but attention
works on the (N, C) matrix of all tokens; attention sees runs of equal length as (rows, length)
blocks, so it needs no mask either.
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
    """A run of messages of one length inside a packed batch."""

    start: int
    """Index of the run's first token in the packed batch."""
    rows: int
    """Number of messages in the run."""
    length: int
    """Tokens of each message in the run."""

    @property
    def stop(self) -> int:
        """Index behind the run's last token."""
        return self.start + self.rows * self.length


@dataclass(frozen=True)
class Packed:
    """A batch of B messages with N tokens in all (B: messages, N: tokens).

    Inside, messages stand sorted by length; `restore` brings (B, ...) results back into the
    caller's order.
    """

    ids: Tensor
    """(N,) int64, token ids."""
    positions: Tensor
    """(N,) int64, position of each token in its own message."""
    last: Tensor
    """(B,) int64, index of each message's last token."""
    groups: tuple[Group, ...]
    """Runs of equal length, in the order of the packed batch."""
    order: NDArray[np.int64]
    """(B,) for each packed row, its place in the caller's order."""
    inverse: Tensor
    """(B,) int64, for each row of the caller, its place in the packed batch."""

    @property
    def rows(self) -> int:
        """Number of messages."""
        return len(self.order)

    @property
    def tokens(self) -> int:
        """Number of tokens of all messages together."""
        return len(self.ids)

    @property
    def longest(self) -> int:
        """Tokens of the longest message."""
        return self.groups[-1].length

    def split(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """(N, ...) -> one part a group. One split for all: the gradient of a slice would fill a
        whole (N, ...) for each group.
        """
        return torch.split_with_sizes(tokens, [group.rows * group.length for group in self.groups])

    def restore(self, rows: Tensor) -> Tensor:
        """(B, ...) in packed order -> (B, ...) in the caller's order."""
        return rows.index_select(0, self.inverse)

    def to(self, device: torch.device | str) -> Packed:
        """The same batch with its tensors on `device`."""
        if self.ids.device == torch.device(device):
            return self
        moved = (t.to(device) for t in (self.ids, self.positions, self.last))
        ids, positions, last = moved
        return Packed(ids, positions, last, self.groups, self.order, self.inverse.to(device))


def pack(messages: Sequence[Ids]) -> Packed:
    """Lay messages of any lengths end to end.

    Args:
        messages: B arrays of token ids, none empty.

    Raises:
        DataError: there is no message, or one has no token.
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
    """Row numbers in batches of at most `max_tokens` tokens, longest first, so that equal lengths
    meet.

    A message longer than `max_tokens` makes a batch of its own. For inference; training wants
    batches of random composition (length goes with the class here), see `tamis.training.loop`.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    yield from batch_by_tokens(order, lengths, max_tokens)


def batch_by_tokens(
    order: NDArray[np.int64], lengths: NDArray[np.int64], max_tokens: int
) -> Iterator[NDArray[np.int64]]:
    """The given rows, in the given order, cut into batches of at most `max_tokens` tokens (never an
    empty batch).
    """
    begin, tokens = 0, 0
    for place, row in enumerate(order):
        if tokens and tokens + lengths[row] > max_tokens:
            yield order[begin:place]
            begin, tokens = place, 0
        tokens += int(lengths[row])
    if begin < len(order):
        yield order[begin:]
