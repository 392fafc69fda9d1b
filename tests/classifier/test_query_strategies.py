"""Rows worth labelling: doubt by hand, alike rows once, and the same rows for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.classifier.query_strategies import STRATEGIES, centred, select, uncertainty

RANDOM = np.random.default_rng(5)


def rows(count: int, classes: int = 3, channels: int = 7) -> tuple[np.ndarray, np.ndarray]:
    features = RANDOM.normal(size=(count, channels))
    probabilities = RANDOM.dirichlet(np.ones(classes), count)
    return features / np.linalg.norm(features, axis=1, keepdims=True), probabilities


def test_doubt_by_hand() -> None:
    probabilities = np.array([[0.5, 0.5, 0.0], [0.7, 0.2, 0.1], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(uncertainty(probabilities), [1.0, 0.5, 0.0])


def test_the_label_turns_at_even_odds_once_the_threshold_is_taken_out() -> None:
    probabilities = np.array([[0.8, 0.2], [0.99, 0.01], [0.0, 1.0], [1.0, 0.0]])
    moved = centred(probabilities, 1, 0.2)
    np.testing.assert_allclose(moved.sum(1), 1.0)
    assert moved[0, 1] == pytest.approx(0.5) and moved[1, 1] < 0.05
    assert moved[2:, 1].tolist() == [1.0, 0.0]
    assert uncertainty(probabilities, positive=1, threshold=0.2)[0] == pytest.approx(1.0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_any_strategy_gives_distinct_rows_and_the_same_again(strategy) -> None:
    features, probabilities = rows(60)
    chosen = select(features, probabilities, 11, strategy=strategy, seed=3)
    assert len(set(chosen.tolist())) == 11 and chosen.max() < 60
    assert (
        chosen.tolist() == select(features, probabilities, 11, strategy=strategy, seed=3).tolist()
    )
    assert sorted(select(features, probabilities, 99, strategy=strategy).tolist()) == list(
        range(60)
    )
    assert len(select(features[:0], probabilities[:0], 5, strategy=strategy)) == 0


def test_the_most_uncertain_come_first_by_margin() -> None:
    features, probabilities = rows(40)
    chosen = select(features, probabilities, 9, strategy="margin")
    uncertain = uncertainty(probabilities)
    assert uncertain[chosen].min() >= np.delete(uncertain, chosen).max()


def test_copies_of_a_doubtful_row_are_asked_for_once() -> None:
    features, _ = rows(5, channels=9)
    features = np.concatenate([np.repeat(features[:1], 30, axis=0), features[1:]])
    probabilities = np.full((34, 2), 0.5)
    chosen = select(features, probabilities, 5, seed=0)
    assert (chosen < 30).sum() == 1 and set(chosen.tolist()) >= {30, 31, 32, 33}


def test_certain_rows_are_left_where_doubtful_ones_are() -> None:
    features = np.random.default_rng(11).normal(size=(80, 7))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    probabilities = np.where(np.arange(80)[:, None] % 4 == 0, 0.5, [[0.999, 0.001]])
    for seed in range(8):
        for strategy in ("clusters", "margin"):
            assert (select(features, probabilities, 4, strategy=strategy, seed=seed) % 4 == 0).all()
