"""Baselines: the majority by hand, TF-IDF on the reference split against known figures, and tables
too small for it.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tamis.errors import ConfigError, DataError
from tamis.evaluation.baselines import fit_baselines, majority, out_of_fold
from tamis.evaluation.metrics import figures

HAM = [
    "see you at lunch",
    "running late, sorry",
    "call mum tonight",
    "are you home yet",
    "lunch was lovely, thanks",
]
SPAM = ["WIN a £500 prize now", "FREE prize, call 0800 now", "claim your FREE ringtone now"]
TEXTS, LABELS = HAM + SPAM, ["ham"] * 5 + ["spam"] * 3
COLLECTION = Path(__file__).parents[3] / "shared/data/sms-spam/SMSSpamCollection"


def test_the_majority_rule_answers_the_training_shares():
    assert majority(LABELS, 2, ["ham", "spam", "eggs"]).tolist() == [[5 / 8, 3 / 8, 0]] * 2


def test_both_baselines_come_back_in_the_order_of_the_classes():
    there = fit_baselines(TEXTS, LABELS, ["FREE prize now", "lunch tonight"], ["ham", "spam"])
    here = fit_baselines(
        TEXTS, LABELS, ["FREE prize now", "lunch tonight"], ["spam", "eggs", "ham"]
    )
    assert list(there) == ["majority", "tfidf"]
    assert there["tfidf"].probabilities.argmax(axis=1).tolist() == [1, 0]
    np.testing.assert_allclose(here["tfidf"].probabilities[:, [2, 0]], there["tfidf"].probabilities)
    assert here["tfidf"].probabilities[:, 1].tolist() == [0, 0]
    assert there["tfidf"].name == "tfidf" and there["tfidf"].seconds > 0


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["", " "], ["ham", "spam"]),
        (["a", "b"], ["ham", "ham"]),
        (["x", "!"], ["ham", "spam"]),
        (["x"], ["ham"]),
    ],
)
def test_tables_too_small_for_tfidf_still_give_probabilities(texts, labels):
    found = fit_baselines(texts, labels, ["x", ""], ["ham", "spam"])["tfidf"].probabilities
    assert found.shape == (2, 2)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_no_test_rows_are_no_error():
    assert fit_baselines(TEXTS, LABELS, [], ["ham", "spam"])["tfidf"].probabilities.shape == (0, 2)


def test_out_of_fold_rows_are_never_seen_by_their_model():
    # Pure noise labels: a model that had seen the row (or its repeat) would know its label.
    generator = np.random.default_rng(0)
    texts = [f"word{a} word{b}" for a, b in generator.integers(1000, size=(40, 2))]
    labels = ["ham" if value else "spam" for value in generator.integers(2, size=40)]
    groups = list(range(40)) * 2
    found = out_of_fold(texts * 2, labels * 2, groups, folds=4)
    assert found.shape == (80, 2)
    truth = np.array([int(label == "spam") for label in labels * 2])
    assert found[np.arange(80), truth].mean() < 0.65
    leaking = out_of_fold(texts * 2, labels * 2, list(range(80)), folds=4)
    assert leaking[np.arange(80), truth].mean() > 0.8


def test_out_of_fold_repeats_with_the_seed_and_follows_sorted_classes():
    groups = list(range(8))
    first = out_of_fold(TEXTS, LABELS, groups, folds=3, seed=1)
    np.testing.assert_array_equal(first, out_of_fold(TEXTS, LABELS, groups, folds=3, seed=1))
    assert first[:, 1][5:].mean() > first[:, 1][:5].mean()
    np.testing.assert_allclose(first.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("labels", "groups"),
    [(["a", "b", "b"], [0, 1, 2]), (["a", "b", "c"], [0, 1, 2]), (["a", "b", "b"], [0, 0, 0])],
)
def test_tiny_classes_and_single_groups_are_no_error(labels, groups):
    found = out_of_fold(["one text", "two texts", "three texts"], labels, groups)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="8 texts and 2 labels"):
        fit_baselines(TEXTS, ["ham", "spam"], [], ["ham", "spam"])
    with pytest.raises(DataError, match="row 5: label 'spam' is not one of"):
        fit_baselines(TEXTS, LABELS, [], ["ham", "eggs"])
    with pytest.raises(DataError, match="got none"):
        majority([], 1, ["ham", "spam"])
    with pytest.raises(DataError, match="8 rows and 1 groups"):
        out_of_fold(TEXTS, LABELS, [0])
    with pytest.raises(ConfigError, match="got 1"):
        out_of_fold(TEXTS, LABELS, list(range(8)), folds=1)


@pytest.mark.slow
@pytest.mark.skipif(
    not COLLECTION.exists(), reason="the SMS Spam Collection is not beside this checkout"
)
def test_tfidf_reaches_its_known_figures_on_the_reference_split():
    with COLLECTION.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t"))
    order = np.random.RandomState(123).permutation(len(rows))
    train, test = order[:4457], order[4457:]
    found = fit_baselines(
        [rows[i][1] for i in train],
        [rows[i][0] for i in train],
        [rows[i][1] for i in test],
        ["ham", "spam"],
    )
    judged = figures(
        [rows[i][0] for i in test],
        found["tfidf"].probabilities,
        ["ham", "spam"],
        positive="spam",
        threshold=0.5,
        bootstrap=2,
    )
    assert judged["confusion"] == [
        [964, 1],
        [4, 146],
    ]  # 5 errors; recall 97.33 %, blocked ham 0.10 %, F1 .983
    assert judged["average_precision"] == pytest.approx(0.994, abs=0.001)
