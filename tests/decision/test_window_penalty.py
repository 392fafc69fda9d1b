"""The penalty for many windows: the tail against scipy's fit and against distributions whose
quantiles are known, and what joins texts.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tamis.decision.window_penalty import (
    CHARACTERS,
    FALSE_ALARMS,
    HIGHEST,
    LOWEST,
    ROUNDS,
    TAIL,
    concatenate_negatives,
    penalty,
    tail_quantile,
)

FAR = np.full(99, 40.0)
"""Margins of positives that no penalty touches."""


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.3])
def test_the_tail_of_a_known_distribution_is_found(shape: float) -> None:
    values = stats.genpareto(shape, scale=1.7).ppf((np.arange(40_000) + 0.5) / 40_000)
    for share in (1e-2, 1e-3, 1e-4):
        assert tail_quantile(values, share) == pytest.approx(
            stats.genpareto(shape, scale=1.7).isf(share), rel=0.02
        )


def test_a_tail_of_two_by_hand() -> None:
    """0 to 9: the tail begins at 7.2, the excesses .8 and 1.8 have the moments 1.3 and .4, so the
    shape is -.6 and the scale 2.08.
    """
    assert tail_quantile(np.arange(10.0), 0.02) == pytest.approx(7.2 + 2.08 / -0.6 * (10**-0.6 - 1))


def test_a_share_as_large_as_the_tail_is_where_the_tail_begins() -> None:
    values = np.random.default_rng(3).normal(size=5000)
    assert tail_quantile(values, TAIL) == pytest.approx(np.quantile(values, 1 - TAIL), abs=1e-3)


@given(st.lists(st.floats(-9, 9), min_size=5, max_size=400), st.sampled_from([0.1, 0.01, 1e-3]))
@settings(max_examples=80)
def test_any_values_give_a_number_not_below_the_tails_start(
    values: list[float], share: float
) -> None:
    found = tail_quantile(np.array(values), share)
    assert np.isfinite(found) and found >= np.quantile(values, 1 - TAIL) - 1e-9
    assert tail_quantile(np.array(values) + 3, share) == pytest.approx(found + 3, abs=1e-6)


def test_the_penalty_holds_what_it_promises_on_further_windows() -> None:
    """Windows of a logistic kind, as log-odds are: of texts of 32 and 128 windows no more than the
    wanted share is above the cut.
    """
    random = np.random.default_rng(5)
    found = penalty(random.logistic(-4.5, 0.8, size=3000), FAR)
    assert found is not None and LOWEST < found < HIGHEST
    for count in (32, 128):
        highest = random.logistic(-4.5, 0.8, size=(4000, count)).max(1)
        assert (highest > found * np.log(count)).mean() < 1.6 * FALSE_ALARMS
    assert (
        highest > 0.5 * found * np.log(128)
    ).mean() > 2 * FALSE_ALARMS  # and it is no larger than it has to be


def test_the_penalty_stays_within_bounds_and_needs_enough_windows() -> None:
    random = np.random.default_rng(6)
    assert (
        penalty(random.normal(-30, 1, size=900), FAR) == LOWEST
        and penalty(random.normal(8, 1, size=900), FAR) == HIGHEST
    )
    assert (
        penalty(random.normal(size=799), FAR) is None
        and penalty(random.normal(size=800), FAR) is not None
    )
    assert penalty(np.zeros(900), FAR) == LOWEST  # all of them level


def test_no_more_is_taken_than_the_positives_can_bear() -> None:
    """Windows that would need more than the bound: nine of ten positives that are flagged alone
    stay flagged among 128 windows.
    """
    high = np.random.default_rng(6).normal(8, 1, size=900)
    positives = np.concatenate(
        [np.full(50, -2.0), np.linspace(3.0, 9.0, 101)]
    )  # fifty are missed alone, which says nothing
    found = penalty(high, positives)
    assert found == pytest.approx(3.6 / np.log(128), abs=1e-3)
    assert (
        penalty(high, np.full(9, -1.0)) == penalty(high, np.empty(0)) == HIGHEST
    )  # none is flagged alone: nothing to lose


def test_texts_are_joined_in_several_orders_and_never_without_end() -> None:
    texts = [f"text {i}" for i in range(9)]
    long = concatenate_negatives(texts, 1)
    assert (
        len(long) == ROUNDS
        and len(set(long)) == ROUNDS
        and long == concatenate_negatives(texts, 1) != concatenate_negatives(texts, 2)
    )
    assert all(sorted(one.replace(" text", "|text").split("|")) == texts for one in long)
    assert concatenate_negatives([], 1) == []
    many = concatenate_negatives(["x" * 999] * 500, 1)
    assert len(many) == 1 and CHARACTERS <= len(many[0]) + 1 < CHARACTERS + 1000
