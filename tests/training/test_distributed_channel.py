"""How rows are divided among processes and tensors are sent together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import DistributedError
from tamis.training.distributed.channel import BUCKET, balanced, buckets
from tamis.training.distributed.team import team
from tests.processes import ended, followers

LENGTHS = st.lists(st.integers(1, 900), min_size=1, max_size=40)


@given(lengths=LENGTHS, world=st.integers(1, 9))
def test_every_row_has_one_process_and_none_has_much_more_than_another(
    lengths: list[int], world: int
) -> None:
    tokens = np.array(lengths)
    shares = balanced(tokens, world)
    assert len(shares) == world
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(lengths)))
    loads = [int(tokens[share].sum()) for share in shares]
    assert max(loads) - min(loads) <= max(lengths)
    assert all((np.diff(share) > 0).all() for share in shares)


def test_the_division_by_hand() -> None:
    shares = balanced(np.array([5, 9, 2, 4]), 2)
    assert [share.tolist() for share in shares] == [[1, 2], [0, 3]] or [
        share.tolist() for share in shares
    ] == [[1], [0, 2, 3]]
    assert [len(share) for share in balanced(np.array([7, 7]), 5)] == [1, 1, 0, 0, 0]


def test_large_tensors_travel_alone_and_small_ones_of_a_type_together() -> None:
    large, half = torch.zeros(BUCKET), torch.zeros(3, dtype=torch.float16)
    small = [torch.zeros(2, 3), torch.zeros(()), torch.zeros(5)]
    found = list(buckets([small[0], large, small[1], half, small[2]]))
    shapes = [[tuple(tensor.shape) for tensor in bucket] for bucket in found]
    assert shapes == [[(BUCKET,)], [(2, 3), (), (5,)], [(3,)]]
    many = list(buckets([torch.zeros(BUCKET // 2)] * 5))
    assert [len(bucket) for bucket in many] == [2, 2, 1]


def test_an_error_of_the_first_process_ends_the_others() -> None:
    with followers(2) as others:
        with pytest.raises(KeyError), team():
            raise KeyError("nothing was begun")
        assert [code for code, _ in ended(others)] == [0, 0]


def test_a_process_that_is_killed_is_an_error_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tamis.training.shared_steps import share
    from tests.tiny import training

    with followers(1) as others:
        with pytest.raises(DistributedError, match="ended or cannot be reached"), team():
            loop = training(epochs=50, batch_rows=4)
            share(loop, None)
            rows = next(loop.steps_of(0))
            loop.train_step(rows, loop.states)
            others[0].kill()
            others[0].wait()
            for _ in range(3):  # the first message may still find its way into a buffer
                loop.train_step(rows, loop.states)
