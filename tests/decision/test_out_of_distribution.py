"""The limit on bits per byte: what it lets through, what it marks, how it knows of length, and what
a report says.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tamis.decision.out_of_distribution import (
    FEWEST_TEXTS,
    OODLimit,
    fit_ood_limit,
    ood_sentence,
    ood_summary,
    read_ood_limit,
    utf8_lengths,
)

RANDOM = np.random.default_rng(3)


def sample(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Bits per byte around 2 + 3 / n, whose spread shrinks with the length."""
    text_bytes = RANDOM.integers(5, 300, rows)
    return 2 + 3 / text_bytes + RANDOM.normal(size=rows) * np.sqrt(
        0.05 + 4 / text_bytes
    ), text_bytes


def test_the_limit_by_hand() -> None:
    limit = OODLimit(
        mean=2.0,
        mean_by_length=10.0,
        variance=0.25,
        variance_by_length=0.0,
        deviations=3.0,
        texts=100,
    )
    assert limit.limits(np.array([10, 100, 0])).tolist() == [4.5, 3.6, 13.5]
    assert limit.is_ood(np.array([4.5, 3.61]), np.array([10, 100])).tolist() == [False, True]


def test_about_one_in_a_hundred_of_like_texts_is_marked_short_or_long() -> None:
    limit = fit_ood_limit(*sample(4000))
    assert limit is not None and limit.texts == 4000
    bits, text_bytes = sample(20_000)
    marked = limit.is_ood(bits, text_bytes)
    for some in (text_bytes < 20, (text_bytes >= 20) & (text_bytes < 100), text_bytes >= 100):
        assert 0.003 < marked[some].mean() < 0.03
    assert limit.limits(np.array([6]))[0] > limit.limits(np.array([250]))[0] + 1


def test_texts_far_above_are_marked() -> None:
    limit = fit_ood_limit(*sample(1000))
    assert limit is not None
    assert limit.is_ood(np.array([6.0, 8.0]), np.array([60, 200])).all()


def test_few_texts_set_no_limit_and_alike_ones_set_a_usable_one() -> None:
    bits, text_bytes = sample(FEWEST_TEXTS)
    assert fit_ood_limit(bits[1:], text_bytes[1:]) is None
    assert fit_ood_limit(bits, text_bytes) is not None
    alike = fit_ood_limit(np.full(200, 2.0), np.full(200, 30))
    assert alike is not None and np.isfinite(alike.limits(np.array([1, 30, 1000]))).all()
    assert alike.is_ood(np.array([3.0]), np.array([30]))[0]


def test_short_texts_that_vary_less_than_long_ones_have_a_limit_too() -> None:
    text_bytes = np.repeat([8, 400], 200)
    bits = 2 + np.where(text_bytes > 100, RANDOM.normal(size=400), 0.0)
    limit = fit_ood_limit(bits, text_bytes)
    assert limit is not None
    limits = limit.limits(np.array([1, 4, 8, 400]))
    assert np.isfinite(limits).all() and (limits > 2).all() and (limits < 8).all()


def test_it_comes_back_from_json_and_strange_values_are_no_limit() -> None:
    limit = fit_ood_limit(*sample(300))
    assert limit is not None
    assert read_ood_limit(json.loads(json.dumps(limit.to_dict()))) == limit
    for values in (None, {}, {"mean": 1}, 3, "x"):
        assert read_ood_limit(values) is None


def test_what_a_report_says() -> None:
    limit = OODLimit(2.0, 0.0, 0.25, 0.0, 2.0, 100)  # 3 bits per byte
    texts, labels = ["aé", "b", "c", "d"], ["ham", "spam", "ham", "ham"]
    assert utf8_lengths(texts).tolist() == [3, 1, 1, 1]
    found = ood_summary(texts, labels, np.array([2.0, 5.0, 3.5, 3.0]), limit)
    assert (found["n"], found["flagged"], found["share"]) == (4, 2, 0.5)
    assert [(one["row"], one["label"], one["text"]) for one in found["examples"]] == [
        (1, "spam", "b"),
        (2, "ham", "c"),
    ]
    assert "2 of 4 test texts (50.0 %)" in ood_sentence(found)
    assert ood_sentence(None) == ""
    assert ood_summary([], [], np.empty(0), limit)["share"] is None


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_the_quantile_is_kept_on_the_texts_themselves(quantile: float) -> None:
    bits, text_bytes = sample(1000)
    limit = fit_ood_limit(bits, text_bytes, quantile=quantile)
    assert limit is not None
    assert 1 - limit.is_ood(bits, text_bytes).mean() == pytest.approx(quantile, abs=0.002)
