"""Parts of a step side by side: how rows are divided, and what must not depend on threads."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tamis.gpt2.features import FeatureExtractor
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling
from tamis.training import side_by_side
from tamis.training.gradients import StepRows, divisors
from tamis.training.side_by_side import (
    LEAST_TOKENS,
    MOST_TOKENS,
    PARTS,
    Workers,
    divide,
)
from tests.tiny import TARGETS, classifier, close, equal, gradients, messages, training, weights_of

LENGTHS = [11, 23, 5, 17, 3, 9, 21, 13, 7, 19, 23, 2, 15, 8, 1, 22, 12]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_every_row_is_in_one_part_and_the_parts_are_even(lengths: list[int]) -> None:
    tokens = np.array(lengths)
    rows = 100 + np.arange(len(tokens))
    parts = divide(rows, tokens)
    assert sorted(np.concatenate(parts).tolist()) == rows.tolist() and all(len(p) for p in parts)
    loads = [int(tokens[part - 100].sum()) for part in parts]
    longest, total = int(tokens.max()), int(tokens.sum())
    count = min(max(PARTS, -(-total // MOST_TOKENS)), max(1, total // LEAST_TOKENS), len(rows))
    assert len(parts) <= count and max(loads) <= total / count + longest
    ends = [tokens[part - 100] for part in parts]
    assert all(a.max() <= b.min() for a, b in itertools.pairwise(ends))


def test_few_tokens_are_one_part() -> None:
    assert len(divide(np.arange(5), np.full(5, LEAST_TOKENS // 5))) == 1
    assert len(divide(np.arange(1), np.array([900]))) == 1
    assert len(divide(np.arange(20), np.full(20, 25))) == PARTS


def loop(**changes: Any) -> Any:
    return training(of=messages(LENGTHS), **changes)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, 3.0, 0.5)], ids=["even", "uneven"])
def test_parts_have_the_gradient_of_the_whole(weights: tuple[float, ...]) -> None:
    of, models = messages(LENGTHS), [classifier(), classifier()]
    assert len(divide(np.arange(17), np.array(LENGTHS))) == PARTS
    for model in models:
        add_mean_pooling(model.transformer)
    training(models[0], of=of, weights=weights, learning_rate=1e-9, head_learning_rate=1e-9).run()
    logits = models[1](pack(list(of.windows)))
    F.cross_entropy(logits, torch.from_numpy(TARGETS), weight=torch.tensor(weights)).backward()
    close(gradients(models[0]), gradients(models[1]), 1e-5)


def test_parts_have_the_next_token_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    divided = loop(lm_loss_weight=0.7)
    divided.run()
    monkeypatch.setattr(side_by_side, "PARTS", 1)
    whole = loop(lm_loss_weight=0.7)
    whole.run()
    close(gradients(divided.model), gradients(whole.model), 1e-5)


def test_the_rows_of_a_table_of_the_step_before_are_forgotten() -> None:
    def table_gradient(*steps: list[int]) -> tuple[torch.Tensor, set[int]]:
        one, places = loop(), set()
        weight = one.model.transformer.wte.weight
        data = StepRows(one.states, one.targets)
        for rows in steps:
            one.optimizer.zero_grad()
            by = divisors(data, np.array(rows), one.weights, one.settings)
            one.gradients.add(data, np.array(rows), by)
            places.add(weight.grad.data_ptr())
        return weight.grad, places

    found, places = table_gradient([0, 1, 2, 3, 9], [4, 5, 6, 7, 8, 1], [6, 10])
    assert torch.equal(found, table_gradient([6, 10])[0]) and found.count_nonzero()
    assert len(places) == 1, "every step took new memory"


def trained_with(threads: int, **changes: Any) -> dict[str, torch.Tensor]:
    torch.set_num_threads(threads)
    torch.manual_seed(5)
    one = loop(epochs=3, dropout=0.2, clip_norm=0.5, **changes)
    one.run()
    return weights_of(one.model)


@pytest.mark.parametrize(
    "changes",
    [{}, {"lm_loss_weight": 0.5, "lm_loss_share": 0.4, "token_dropout": 0.2}],
    ids=["classes", "next token"],
)
def test_one_thread_and_two_give_the_same_bytes(changes: dict[str, Any]) -> None:
    assert equal(trained_with(1, **changes), trained_with(2, **changes))


def test_the_random_numbers_of_a_seed_stay_those_of_earlier_versions() -> None:
    """Losses of one process, noted before several processes divided the parts."""
    draws = {"lm_loss_weight": 0.5, "lm_loss_share": 0.4, "token_dropout": 0.2}
    expected = {
        (): [1.8028, 1.1598, 1.0151],
        (("micro_batch_tokens", 90),): [1.7661, 1.2309, 1.0245],
        tuple(draws.items()): [1.7963, 1.1109, 1.1746],
    }
    for changes, losses in expected.items():
        torch.manual_seed(5)
        one = loop(epochs=3, dropout=0.2, clip_norm=0.5, **dict(changes))
        found = [row["loss"] for row in one.run().history]
        assert found == pytest.approx(losses, abs=1e-3)


def test_the_load_changes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained_with(2)
    plain, calls = FeatureExtractor.forward, []

    def late(*given: Any, **options: Any) -> Any:
        calls.append(1)
        time.sleep(0.02 * (len(calls) % 2))  # now the first part is late, now the second
        return plain(*given, **options)

    monkeypatch.setattr(FeatureExtractor, "forward", late)
    assert equal(trained_with(2), expected) and len(calls) > 4


def test_workers_compute_with_a_thread_each_and_start_anew() -> None:
    torch.set_num_threads(2)
    workers = Workers()
    for _ in range(2):
        assert workers.map(lambda _: torch.get_num_threads(), [0, 1, 2]) == [1, 1, 1]
        workers.close()
    assert workers.map(lambda _: torch.get_num_threads(), [0]) == [2], "a single part has them all"
    assert torch.get_num_threads() == 2


def test_an_error_in_a_part_reaches_the_caller() -> None:
    torch.set_num_threads(2)
    workers = Workers()
    with pytest.raises(ZeroDivisionError):
        workers.map(lambda number: 1 // number, [1, 0, 2])
    assert workers.map(lambda number: 2 * number, [1, 2]) == [2, 4]
    workers.close()
