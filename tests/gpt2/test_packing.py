"""Packed batches: what lies where, and that every row comes back to its place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import DataError
from tamis.gpt2.packing import Group, batch_by_tokens, by_length, pack

LENGTHS = st.lists(st.integers(1, 13), min_size=1, max_size=11)


def numbered(lengths: list[int]) -> list[np.ndarray]:
    """Messages whose every id tells row and place: 100 * row + place."""
    return [100 * row + np.arange(n) for row, n in enumerate(lengths)]


def test_three_messages_by_hand() -> None:
    packed = pack([np.array([7, 8, 9]), np.array([5]), np.array([1, 2, 3]), np.array([4, 6])])
    assert packed.ids.tolist() == [5, 4, 6, 7, 8, 9, 1, 2, 3]
    assert packed.positions.tolist() == [0, 0, 1, 0, 1, 2, 0, 1, 2]
    assert packed.last.tolist() == [0, 2, 5, 8]
    assert packed.groups == (Group(0, 1, 1), Group(1, 1, 2), Group(3, 2, 3))
    assert packed.order.tolist() == [1, 3, 0, 2] and packed.inverse.tolist() == [2, 0, 3, 1]
    assert (packed.rows, packed.tokens, packed.longest) == (4, 9, 3)
    assert packed.ids.dtype == packed.positions.dtype == packed.last.dtype == torch.int64


@given(LENGTHS)
def test_groups_cover_the_batch_and_hold_whole_messages(lengths: list[int]) -> None:
    packed = pack(numbered(lengths))
    stop, row = 0, 0
    for group in packed.groups:
        assert group.start == stop
        for message in packed.ids[group.start : group.stop].view(group.rows, group.length):
            assert (
                message.tolist()
                == (100 * packed.order[row] + np.arange(lengths[packed.order[row]])).tolist()
            )
            row += 1
        stop = group.stop
    assert stop == packed.tokens == sum(lengths) and row == packed.rows == len(lengths)
    sizes = [group.length for group in packed.groups]
    assert sizes == sorted(set(lengths))


@given(LENGTHS)
def test_restore_brings_every_row_back_to_its_place(lengths: list[int]) -> None:
    packed = pack(numbered(lengths))
    last = packed.restore(packed.ids.index_select(0, packed.last))
    assert last.tolist() == [100 * row + n - 1 for row, n in enumerate(lengths)]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16])
def test_ids_of_any_integer_type_become_int64(dtype: type) -> None:
    assert pack([np.array([3, 1], dtype=dtype)]).ids.dtype == torch.int64


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(DataError, match="a batch needs at least one message; got none"):
        pack([])


def test_a_message_without_tokens_is_named() -> None:
    with pytest.raises(
        DataError,
        match=r"message 2 of the batch has no token; an empty text needs a leading <\|endoftext\|>",
    ):
        pack([np.array([1]), np.array([1, 2]), np.array([], dtype=np.int64)])


def test_moving_to_the_same_device_copies_nothing() -> None:
    packed = pack(numbered([2, 3]))
    assert packed.to("cpu") is packed
    assert packed.to("meta").inverse.is_meta and packed.to("meta").groups == packed.groups


@given(st.lists(st.integers(1, 30), max_size=23), st.integers(1, 60))
def test_by_length_covers_each_row_once_under_the_budget_longest_first(
    lengths: list[int], budget: int
) -> None:
    batches = list(by_length(lengths, budget))
    rows = [int(row) for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[row] for row in batch) <= budget


@given(st.lists(st.integers(1, 30), max_size=23), st.integers(1, 60))
def test_in_order_cuts_as_late_as_it_can(lengths: list[int], budget: int) -> None:
    order = np.random.default_rng(len(lengths)).permutation(len(lengths))
    batches = list(batch_by_tokens(order, np.array(lengths, dtype=np.int64), budget))
    assert [int(row) for batch in batches for row in batch] == order.tolist()
    for batch, after in itertools.pairwise(batches):
        assert sum(lengths[row] for row in batch) + lengths[after[0]] > budget
