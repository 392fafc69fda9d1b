"""One score from many windows: worked out by hand, one by one or all at once, and a text's score
against its own windows.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.gpt2.scoring import score_windows
from tamis.text.windows import RunningAggregation, WindowAggregation, size_for
from tests.tiny import classifier, windowed

LOGITS = np.array([[1.0, 0.0], [0.0, 3.0], [0.5, 3.5], [2.0, 0.0]])
"""A text of one window and a text of three."""
COUNTS = np.array([1, 3])


def test_the_strongest_window_decides_and_is_lowered_by_the_logarithm_of_their_number() -> None:
    pooled = WindowAggregation(1)(torch.from_numpy(LOGITS), COUNTS).numpy()
    np.testing.assert_allclose(
        pooled, [[1.0, 0.0], [0.0, 3.0 - np.log(3)]]
    )  # of two equal margins the first
    other = WindowAggregation(0)(torch.from_numpy(LOGITS), COUNTS).numpy()
    np.testing.assert_allclose(other[1], [2.0 - np.log(3), 0.0])
    np.testing.assert_allclose(
        WindowAggregation(1, 0.5)(torch.from_numpy(LOGITS), COUNTS)[1], [0.0, 3.0 - 0.5 * np.log(3)]
    )
    assert WindowAggregation(1).deciding(LOGITS, COUNTS).tolist() == [0, 0] and WindowAggregation(
        0
    ).deciding(LOGITS, COUNTS).tolist() == [
        0,
        2,
    ]


def test_more_classes_are_averaged_and_the_window_that_speaks_most_for_the_mean_is_named() -> None:
    logits = np.array([[0.0, 1.0, 0.0], [3.0, 0.0, 1.0], [0.0, 4.0, 0.0]])
    pooled = WindowAggregation()(torch.from_numpy(logits), np.array([3])).numpy()
    np.testing.assert_allclose(pooled, [[1.0, 5 / 3, 1 / 3]])
    assert WindowAggregation().deciding(logits, np.array([3])).tolist() == [2]


def test_a_window_is_as_long_as_nearly_all_training_texts() -> None:
    assert size_for(np.arange(1, 101), 256) == 96 and size_for(np.arange(1, 101), 64) == 64
    assert (
        size_for(np.array([3]), 256) == 32
        and size_for(np.array([3]), 20) == 20
        and size_for(np.full(9, 40), 256) == 48
    )


def test_a_single_window_is_the_text_itself() -> None:
    for pooling in (WindowAggregation(), WindowAggregation(1)):
        assert torch.equal(
            pooling(torch.from_numpy(LOGITS), np.ones(4, dtype=np.int64)), torch.from_numpy(LOGITS)
        )


@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    positive=st.sampled_from([None, 0, 1]),
    penalty=st.sampled_from([0.0, 0.6, 1.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_windows_one_by_one_give_what_all_at_once_give(
    counts: list[int], positive: int | None, penalty: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    logits, sizes = random.normal(size=(sum(counts), 2)), np.array(counts)
    owner = np.repeat(np.arange(len(counts)), counts)
    pooled = RunningAggregation(len(counts), 2, WindowAggregation(positive, penalty))
    last = {}
    for window in random.permutation(len(logits)):
        last[int(owner[window])] = pooled.with_one_more(int(owner[window]), logits[[window]])[0]
        pooled.add(int(owner[window]), logits[window])
    expected = WindowAggregation(positive, penalty)(torch.from_numpy(logits), sizes).numpy()
    np.testing.assert_allclose(pooled.logits(), expected, atol=1e-12)
    np.testing.assert_allclose([last[text] for text in range(len(counts))], expected, atol=1e-12)


@given(st.integers(2, 400), st.integers(0, 20))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_longer_text_of_the_same_windows_is_never_more_suspect(copies: int, seed: int) -> None:
    one = np.random.default_rng(seed).normal(size=(3, 2))
    many = np.tile(one, (copies, 1))
    short, long = (
        WindowAggregation(1)(torch.from_numpy(part), np.array([len(part)]))[0]
        for part in (one, many)
    )
    assert float(long[1] - long[0]) == pytest.approx(float(short[1] - short[0]) - np.log(copies))


def test_the_gradient_reaches_the_deciding_window_alone() -> None:
    logits = torch.from_numpy(LOGITS.copy()).requires_grad_()
    WindowAggregation(1)(logits, COUNTS)[1, 1].backward()
    assert logits.grad is not None and logits.grad.nonzero().tolist() == [[1, 1]]


def test_a_models_texts_are_scored_by_their_windows_and_the_deciding_one_is_named() -> None:
    model = classifier(2)
    of = windowed([[5], [7, 3, 4], [2, 2]])
    plain = score_windows(model, of).logits
    with_rule = type(of)(of.windows, of.first, of.distinct_of, WindowAggregation(1))
    found = score_windows(model, with_rule)
    each = score_windows(
        model, windowed([[5], [7], [3], [4], [2], [2]])
    ).logits  # the same ids, every window a text
    margins = each[:, 1] - each[:, 0]
    np.testing.assert_allclose(found.logits[0], plain[0], atol=1e-6)
    assert found.deciding.tolist() == [0, int(margins[1:4].argmax()), int(margins[4:6].argmax())]
    np.testing.assert_allclose(
        found.logits[1, 1] - found.logits[1, 0], margins[1:4].max() - np.log(3), atol=1e-5
    )
    np.testing.assert_allclose(plain[2], each[4:6].mean(0), atol=1e-5)


@pytest.mark.parametrize("part", ["whole", "one block"])
def test_a_model_left_in_training_is_scored_without_dropout(part: str) -> None:
    model = classifier()
    model.transformer.set_dropout(0.5)
    expected = score_windows(model.eval(), windowed([[3, 5], [7]])).logits
    (model if part == "whole" else model.transformer.h[1]).train()
    np.testing.assert_array_equal(score_windows(model, windowed([[3, 5], [7]])).logits, expected)
    assert not model.transformer.h[1].training
