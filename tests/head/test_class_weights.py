"""Undersampling where the head is solved: which rows are drawn, what is fitted, what is judged, and
what the scores are put back by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamis import TextClassifier
from tamis.config import Recipe
from tamis.data.folds import stratified_group_folds
from tamis.evaluation.model_selection import Selection
from tamis.head.class_weights import effective_class_weights, undersampled
from tamis.head.linear_head import HeadRows, HeadSearch, fit_head, solve
from tests.head.test_linear_head import rows
from tests.rows import messages

ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]


def lopsided() -> tuple[np.ndarray, np.ndarray]:
    """61 rows of three classes, a dozen of the last."""
    features, targets = rows(3)
    targets = np.where((targets == 2) & (np.arange(61) > 36), 0, targets)
    return features, targets


def test_as_many_rows_of_every_class_are_drawn_as_the_rarest_has_the_same_by_the_same_seed() -> (
    None
):
    _, targets = lopsided()
    drawn = undersampled(targets, 5)
    assert np.bincount(targets[drawn]).tolist() == [12, 12, 12] and (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, undersampled(targets, 5))
    assert drawn.tolist() != undersampled(targets, 6).tolist()
    assert set(np.flatnonzero(targets == 2)) <= set(drawn.tolist())


def test_the_drawn_rows_alone_are_fitted_and_all_are_judged_by_heads_of_their_folds() -> None:
    features, targets = lopsided()
    groups = np.arange(61)
    head = fit_head(
        HeadRows(features, targets, np.ones(3), groups),
        HeadSearch((1.0, 30.0), undersample=True, seed=4),
    )
    drawn = undersampled(targets, 4)
    expected = solve(features[drawn], targets[drawn], np.ones(36), head.inverse_penalty).head
    np.testing.assert_allclose(head.weight, expected.weight, atol=1e-6)
    assert head.out_of_fold is not None
    for inside, outside in stratified_group_folds(targets, groups, 3, 4):
        own = inside[undersampled(targets[inside], 4)]
        judge = solve(features[own], targets[own], np.ones(len(own)), head.inverse_penalty).head
        np.testing.assert_allclose(
            head.out_of_fold[outside], judge.logits(features[outside]), atol=1e-3
        )


def test_folds_that_are_given_are_taken_and_a_single_one_is_none() -> None:
    features, targets = lopsided()
    parts = np.arange(61) % 4
    given = HeadRows(features, targets, np.ones(3), np.arange(61), fold_ids=parts)
    head = fit_head(given, HeadSearch((1.0, 30.0)))
    inside, outside = np.flatnonzero(parts != 2), np.flatnonzero(parts == 2)
    judge = solve(
        features[inside], targets[inside], np.ones(len(inside)), head.inverse_penalty
    ).head
    assert head.out_of_fold is not None
    np.testing.assert_allclose(
        head.out_of_fold[outside], judge.logits(features[outside]), atol=1e-3
    )
    assert fit_head(replace(given, fold_ids=0 * parts)).out_of_fold is None


def test_a_named_positive_class_chooses_the_penalty() -> None:
    """Of classes on which the candidates differ; each is the best for one of the two."""
    for seed in range(30):
        random = np.random.default_rng(seed)
        targets = np.arange(61) % 3 // 2
        features, _ = rows(2)
        features = features + 0.3 * random.normal(size=features.shape)
        heads = [
            fit_head(
                HeadRows(features, targets, np.ones(2), np.arange(61)),
                HeadSearch(selection=Selection(k)),
            )
            for k in (None, 0, 1)
        ]
        assert heads[0].inverse_penalty == heads[2].inverse_penalty  # the rarer class is the second
        if heads[1].inverse_penalty != heads[2].inverse_penalty:
            return
    pytest.fail("no seed on which the classes choose differently")


def test_the_shares_of_what_was_drawn_count_a_copy_by_its_weight() -> None:
    recipe = Recipe().changed(
        {"tune": "head", "train.undersample": True, "train.augment_weight": 0.25}
    )
    targets, copied = np.array([0] * 9 + [1] * 3), np.array([1] * 4)
    assert effective_class_weights(recipe, targets, targets[:0], ["a", "b"]).tolist() == [3.0, 3.0]
    # Seven of each class are drawn: of the second, all its rows and copies.
    assert effective_class_weights(recipe, targets, copied, ["a", "b"]).tolist() == [
        7.0,
        3 + 4 * 0.25,
    ]
    looped = recipe.changed({"tune": "full"})
    assert effective_class_weights(looped, targets, copied, ["a", "b"]).tolist() == [7.0, 7.0]


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_a_solved_head_undersamples_and_its_scores_hold_for_the_rows(weights: str) -> None:
    settings = {"text.pooling": "mean", "text.layers": 1, "train.class_weight": weights}
    plain, even = (
        TextClassifier(
            "scratch:tiny", "head", threads=1, settings={**settings, "train.undersample": drawn}
        ).fit(TEXTS, LABELS)
        for drawn in (False, True)
    )
    assert np.abs(plain.predict_proba(TEXTS) - even.predict_proba(TEXTS)).max() > 0.01
    spam = LABELS.count("spam")
    assert (even.training_.shift[1] - even.training_.shift[0]) * even.temperature_ == pytest.approx(
        np.log(spam / (124 - spam))
    )
    assert len(even.training_.held_out) == 124 and even.training_.features is not None
    targets = np.array([label == "spam" for label in LABELS], dtype=np.int64)
    drawn, features = undersampled(targets, 42), even.training_.features.astype(np.float64)
    head = solve(
        features[drawn],
        targets[drawn],
        np.ones(len(drawn)),
        even.training_.facts["inverse_penalty"],
    ).head
    margins = (
        head.logits(features) @ [-1.0, 1.0] / even.temperature_
        + even.training_.shift[1]
        - even.training_.shift[0]
    )
    np.testing.assert_allclose(
        even.predict_proba(TEXTS)[:, 1], 1 / (1 + np.exp(-margins)), atol=0.01
    )
