"""Parts of a step: dropout from random bytes, and gradients of single rows."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tamis.gpt2.step_part import StepPart, apply_dropout, current_part, table_rows, uniform


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    shape, values = (333, 301), torch.ones(333, 301)
    with StepPart((3, 1)).begun():
        found = apply_dropout(values, share, True)
    kept = found != 0
    deviation = (share * (1 - share) / values.numel()) ** 0.5
    assert found.shape == shape and abs(float((~kept).double().mean()) - share) < 5 * deviation
    factor = found[kept].unique()
    assert len(factor) == 1 and float(factor) == pytest.approx(1 / (1 - share), rel=2e-4)
    # Every position is drawn for itself: the share holds for rows, columns and neighbours.
    for other in (kept[1:] & kept[:-1], kept[:, 1:] & kept[:, :-1]):
        assert abs(float(other.double().mean()) - (1 - share) ** 2) < 8 * deviation


def test_the_factor_belongs_to_the_rounded_share() -> None:
    for share in (1e-6, 0.1, 0.123, 1 - 1e-6):
        mask = StepPart((1,)).dropout((10,), share, torch.float64)
        limit = min(round(share * 65536), 65535)
        assert set(mask.unique().tolist()) <= {0.0, float(torch.tensor(65536 / (65536 - limit)))}


@given(
    st.integers(0, 2**31), st.integers(0, 9), st.lists(st.integers(1, 9), min_size=1, max_size=3)
)
@settings(max_examples=30, deadline=None)
def test_the_same_part_draws_the_same_bytes(seed: int, number: int, shape: list[int]) -> None:
    one, two = StepPart((seed, number)), StepPart((seed, number))
    for _ in range(2):
        assert torch.equal(
            one.dropout(shape, 0.4, torch.float32), two.dropout(shape, 0.4, torch.float32)
        )
        assert torch.equal(one.uniform(5), two.uniform(5))
    other = StepPart((seed, number + 1)).uniform(64)
    assert not torch.equal(StepPart((seed, number)).uniform(64), other)


def test_the_gradient_passes_where_the_value_did() -> None:
    values = torch.randn(7, 5, requires_grad=True)
    with StepPart((5,)).begun():
        found = apply_dropout(values, 0.4, True)
    found.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(found, values * values.grad)
    assert 0 < int((values.grad == 0).sum()) < 35


def test_nothing_is_dropped_outside_of_training_or_without_a_share() -> None:
    values = torch.randn(3, 2)
    with StepPart((5,)).begun():
        assert apply_dropout(values, 0.4, False) is values
        assert apply_dropout(values, 0.0, True) is values


def test_bfloat16_stays_bfloat16() -> None:
    with StepPart((5,)).begun():
        assert apply_dropout(torch.ones(4, dtype=torch.bfloat16), 0.5, True).dtype == torch.bfloat16


def test_a_part_belongs_to_its_thread_and_ends() -> None:
    part, seen = StepPart((1,)), []
    with part.begun():
        thread = threading.Thread(target=lambda: seen.append(current_part()))
        thread.start()
        thread.join()
        assert current_part() is part
    assert seen == [None] and current_part() is None
    torch.manual_seed(3)
    found = uniform(4)
    torch.manual_seed(3)
    assert torch.equal(found, torch.rand(4))


def test_rows_of_a_table_are_noted_with_their_gradients() -> None:
    table = torch.randn(11, 3, requires_grad=True)
    ids = torch.tensor([2, 5, 2, 10])
    scale = torch.randn(4, 3)
    part = StepPart((1,))
    with part.begun():
        found = table_rows(table, ids)
        assert torch.equal(found, F.embedding(ids, table))
        assert torch.autograd.grad((found * scale).sum(), table, allow_unused=True)[0] is None
    ((noted, gradient),) = part.rows[table]
    assert torch.equal(noted, ids) and torch.equal(gradient, scale)
    frozen = torch.randn(11, 3)
    with part.begun():
        assert not table_rows(frozen, ids).requires_grad and frozen not in part.rows
