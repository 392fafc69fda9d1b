"""The limits of out-of-distribution texts: what they let through, what they mark, how they know of
length, and what a report says.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tamis.decision.feature_density import DIRECTIONS, FeatureDensity, fit_density
from tamis.decision.length_trend import LengthTrend
from tamis.decision.out_of_distribution import (
    FEWEST_TEXTS,
    DensityLimit,
    OODLimit,
    TextSizes,
    fit_density_limit,
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
    for values in (None, {}, {"mean": 1}, 3, "x", {"kind": "density"}):
        assert read_ood_limit(values) is None


def test_what_a_report_says() -> None:
    limit = OODLimit(2.0, 0.0, 0.25, 0.0, 2.0, 100)  # 3 bits per byte
    texts, labels = ["aé", "b", "c", "d"], ["ham", "spam", "ham", "ham"]
    assert utf8_lengths(texts).tolist() == [3, 1, 1, 1]
    scores = limit.scores(np.array([2.0, 5.0, 3.5, 3.0]), utf8_lengths(texts))
    assert scores.tolist() == [0.0, 6.0, 3.0, 2.0]
    found = ood_summary(texts, labels, scores, limit)
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


def near(rows: int, *, seed: int) -> tuple[np.ndarray, TextSizes]:
    """Features of 24 channels in a plane of three directions, and texts of a quarter of a token a
    byte.
    """
    random = np.random.default_rng(seed)
    plane = np.random.default_rng(0).normal(size=(3, 24))
    features = random.normal(size=(rows, 3)) @ plane + 0.1 * random.normal(size=(rows, 24))
    text_bytes = random.integers(20, 200, rows)
    return features.astype(np.float32), TextSizes(
        np.maximum(1, np.round(text_bytes * random.normal(0.25, 0.02, rows))).astype(np.int64),
        text_bytes,
    )


def test_a_density_limit_marks_one_in_a_hundred_of_new_texts_and_all_strange_ones() -> None:
    features, sizes = near(1000, seed=1)
    limit = fit_density_limit(features, sizes)
    assert limit is not None and limit.texts == 1000
    new, new_sizes = near(5000, seed=2)
    assert 0.003 < (limit.scores(new, new_sizes) > limit.deviations).mean() < 0.03
    away = new + np.random.default_rng(3).normal(size=24).astype(np.float32)
    assert (limit.scores(away, new_sizes) > limit.deviations).all()
    pieces = TextSizes(2 * new_sizes.tokens, new_sizes.text_bytes)
    assert (limit.scores(new, pieces) > limit.deviations).all()
    # Neither is a text that is only shorter.
    short = TextSizes(np.full(5000, 2), np.full(5000, 8))
    assert (limit.scores(new, short) > limit.deviations).mean() < 0.05


def test_the_score_of_a_density_limit_by_hand() -> None:
    density = FeatureDensity(
        np.array([1.0, 0.0, 0.0], dtype=np.float32),
        np.array([[0.0, 1.0, 0.0]], dtype=np.float32),
        (4.0,),
        0.25,
    )
    distances = density.distances(np.array([[1.0, 4.0, 0.0], [2.0, 2.0, 1.0]]))
    assert distances.tolist() == [2.0, 3.0]  # sqrt(16/4), sqrt(4/4 + 2/0.25)
    limit = DensityLimit(
        density, LengthTrend(1.0, 0.0, 0.25, 0.0), LengthTrend(0.2, 1.0, 0.01, 0.0), 2.0, 3.0, 100
    )
    # (3 - 1) / 0.5 = 4; 10 tokens of 20 bytes: (0.5 - 0.25) / 0.1 = 2.5; (4 + 2.5) / 2
    score = limit.scores_of(distances[1:], TextSizes(np.array([10]), np.array([20])))
    assert score == pytest.approx([3.25])


def test_a_trained_trunk_is_judged_on_texts_that_it_has_not_seen() -> None:
    features, sizes = near(500, seed=1)
    seen = (0.1 * features).astype(np.float32)  # drawn together by the training
    naive, fair = (
        fit_density_limit(seen, sizes),
        fit_density_limit(seen, sizes, unseen=(features, sizes)),
    )
    assert naive is not None and fair is not None
    new, new_sizes = near(2000, seed=5)
    assert (naive.scores(new, new_sizes) > naive.deviations).mean() > 0.9
    assert 0.002 < (fair.scores(new, new_sizes) > fair.deviations).mean() < 0.03


def test_a_density_limit_comes_back_from_json_and_damage_is_no_limit() -> None:
    limit = fit_density_limit(*near(150, seed=4))
    assert limit is not None
    plain = json.loads(json.dumps(limit.to_dict()))
    again = read_ood_limit(plain)
    features, sizes = near(20, seed=6)
    assert isinstance(again, DensityLimit) and again == limit and hash(again) == hash(limit)
    assert (again.scores(features, sizes) == limit.scores(features, sizes)).all()
    assert "density" not in limit.summary()
    for name, value in (
        ("residual", 0.0),
        ("variances", [1.0]),
        ("channels", 7),
        ("channels", "x"),
    ):
        assert read_ood_limit(plain | {"density": plain["density"] | {name: value}}) is None
    assert read_ood_limit(plain | {"spread": None}) is None
    assert (
        fit_density_limit(features[:10], TextSizes(sizes.tokens[:10], sizes.text_bytes[:10]))
        is None
    )


def test_alike_and_narrow_features_have_a_usable_limit() -> None:
    sizes = TextSizes(np.full(120, 5), np.full(120, 20))
    for features in (np.ones((120, 6)), np.random.default_rng(0).normal(size=(120, 3))):
        limit = fit_density_limit(features, sizes)
        assert limit is not None
        assert np.isfinite(limit.scores(features, sizes)).all()
        assert (limit.scores(features + 5.0, sizes) > limit.deviations).all()


def test_the_density_is_that_of_probabilistic_pca() -> None:
    from sklearn.decomposition import PCA

    features, _ = near(400, seed=7)
    rows = features.astype(np.float64)
    rows -= rows.mean(1, keepdims=True)  # as features of length one, they sum to zero
    density, distances = fit_density(rows)
    exact = PCA(DIRECTIONS, svd_solver="full").fit(rows)
    np.testing.assert_allclose(density.mean, exact.mean_, atol=1e-6)
    np.testing.assert_allclose(density.variances, exact.explained_variance_ * 399 / 400, rtol=1e-6)
    left = PCA(svd_solver="full").fit(rows).explained_variance_[DIRECTIONS:23].mean() * 399 / 400
    assert density.residual == pytest.approx(left, rel=1e-6)
    assert distances.mean() > density.distances(rows).mean()  # of texts that it has not seen


def test_a_trend_by_length_leaves_no_spread_where_the_length_explains_all() -> None:
    sizes = np.array([1, 2, 4, 5, 10, 20], dtype=np.int64)
    trend = LengthTrend.fit(0.5 + 2.0 / sizes, sizes)
    assert (trend.mean, trend.mean_by_length) == pytest.approx((0.5, 2.0))
    assert trend.variance + trend.variance_by_length == pytest.approx(0.0, abs=1e-9)
    assert trend.expected(np.array([8]))[0] == pytest.approx([0.75])
