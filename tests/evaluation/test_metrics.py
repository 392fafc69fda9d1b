"""Metrics against scikit-learn (an independent implementation), hand-computed numbers, and
properties.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tamis.errors import ConfigError, DataError
from tamis.evaluation.bootstrap import Rows, weighted_figures
from tamis.evaluation.metrics import METRICS, collapse_warnings, figures, mcnemar, wilson

BINARY = ["ham", "spam"]


def _binary(n: int, seed: int, decimals: int = 2) -> tuple[list[str], np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = np.arange(n) % 7 == 0
    scores = np.round(
        np.clip(0.35 * truth + 0.6 * generator.random(n), 0, 1), decimals
    )  # rounding makes ties
    return [BINARY[int(value)] for value in truth], np.stack([1 - scores, scores], axis=1), truth


def _multi(n: int, k: int, seed: int) -> tuple[list[str], np.ndarray, np.ndarray, list[str]]:
    generator = np.random.default_rng(seed)
    classes = [f"class {index}" for index in range(k)]
    truth = generator.integers(k, size=n)
    logits = generator.normal(size=(n, k))
    logits[np.arange(n), truth] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [classes[value] for value in truth], probabilities, truth, classes


def _plain(labels, probabilities, classes, **options):
    return figures(labels, probabilities, classes, bootstrap=2, **options)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_binary_figures_equal_scikit_learn(seed, threshold):
    labels, probabilities, truth = _binary(211, seed)
    scores = probabilities[:, 1]
    flagged = scores >= threshold
    found = _plain(labels, probabilities, BINARY, positive="spam", threshold=threshold)
    expected = {
        "accuracy": sk.accuracy_score(truth, flagged),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, flagged),
        "recall": sk.recall_score(truth, flagged),
        "precision": sk.precision_score(truth, flagged),
        "f1": sk.f1_score(truth, flagged),
        "mcc": sk.matthews_corrcoef(truth, flagged),
        "average_precision": sk.average_precision_score(truth, scores),
        "roc_auc": sk.roc_auc_score(truth, scores),
        "false_positive_rate": flagged[~truth].mean(),
        "brier": sk.brier_score_loss(truth, scores),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found["confusion"] == sk.confusion_matrix(truth, flagged).tolist()
    assert list(found) == ["n", *METRICS, "confusion", "per_class", "ci95"]
    assert list(found["ci95"]) == list(METRICS)


def test_multi_class_figures_equal_scikit_learn():
    labels, probabilities, truth, classes = _multi(301, 5, 3)
    predicted = probabilities.argmax(axis=1)
    found = _plain(labels, probabilities, classes, positive=None, threshold=None)
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "recall": sk.recall_score(truth, predicted, average="macro"),
        "precision": sk.precision_score(truth, predicted, average="macro"),
        "f1": sk.f1_score(truth, predicted, average="macro"),
        "mcc": sk.matthews_corrcoef(truth, predicted),
        "average_precision": sk.average_precision_score(
            np.eye(5)[truth], probabilities, average="macro"
        ),
        "roc_auc": sk.roc_auc_score(truth, probabilities, multi_class="ovr"),
        "brier": ((probabilities - np.eye(5)[truth]) ** 2).sum(axis=1).mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found["false_positive_rate"] is None and found["ci95"]["false_positive_rate"] is None
    assert [row["recall"] for row in found["per_class"]] == pytest.approx(
        sk.recall_score(truth, predicted, average=None).tolist()
    )


def test_ece_equals_a_slow_definition():
    labels, probabilities, truth = _binary(173, 4, decimals=4)
    total = 0.0
    for low in range(15):
        chosen = [
            i
            for i, p in enumerate(probabilities[:, 1])
            if low <= p * 15 < low + 1 or (low == 14 and p == 1)
        ]
        if chosen:
            gap = np.mean([probabilities[i, 1] for i in chosen]) - np.mean(
                [truth[i] for i in chosen]
            )
            total += abs(gap) * len(chosen) / len(truth)
    found = _plain(labels, probabilities, BINARY, positive="spam", threshold=0.5)
    assert found["ece"] == pytest.approx(total, abs=1e-12)


def test_figures_by_hand():
    # Rows by score: spam .9, ham .8, spam .7, ham .2. Cut at .75: one hit, one blocked ham, one
    # missed.
    found = _plain(
        ["spam", "ham", "spam", "ham"],
        np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.8, 0.2]]),
        BINARY,
        positive="spam",
        threshold=0.75,
    )
    assert found["confusion"] == [[1, 1], [1, 1]]
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["roc_auc"] == pytest.approx(3 / 4)
    assert (
        found["recall"],
        found["precision"],
        found["f1"],
        found["mcc"],
        found["false_positive_rate"],
    ) == (
        0.5,
        0.5,
        0.5,
        0,
        0.5,
    )
    assert found["brier"] == pytest.approx((0.01 + 0.64 + 0.09 + 0.04) / 4)


def test_a_score_on_the_threshold_is_positive():
    found = _plain(
        ["spam", "ham"], np.array([[0.5, 0.5], [0.6, 0.4]]), BINARY, positive="spam", threshold=0.5
    )
    assert found["confusion"] == [[1, 0], [0, 1]]


def test_the_positive_class_may_come_first():
    labels, probabilities, _ = _binary(97, 5)
    there = _plain(labels, probabilities, BINARY, positive="spam", threshold=0.4)
    here = _plain(labels, probabilities[:, ::-1], BINARY[::-1], positive="spam", threshold=0.4)
    assert {name: here[name] for name in METRICS} == pytest.approx(
        {name: there[name] for name in METRICS}
    )


@given(
    st.lists(st.booleans(), min_size=2, max_size=40).filter(lambda rows: len(set(rows)) == 2),
    st.floats(0, 1),
)
def test_a_constant_score_has_the_prevalence_as_average_precision(truth, score):
    probabilities = np.tile([1 - score, score], (len(truth), 1))
    labels = [BINARY[int(value)] for value in truth]
    found = _plain(labels, probabilities, BINARY, positive="spam", threshold=0.5)
    assert found["average_precision"] == pytest.approx(sum(truth) / len(truth))
    assert found["roc_auc"] == pytest.approx(0.5)
    assert found["mcc"] == 0


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_repeating_every_row_is_a_weight_of_two_and_changes_no_figure(seed, k):
    _, probabilities, truth, _ = _multi(23, k, seed)
    predicted = probabilities.argmax(axis=1)
    once = Rows(truth, predicted, probabilities, None)
    twice = Rows(np.tile(truth, 2), np.tile(predicted, 2), np.tile(probabilities, (2, 1)), None)
    single = weighted_figures(once, np.ones((1, 23)))
    doubled = weighted_figures(once, np.full((1, 23), 2.0))
    repeated = weighted_figures(twice, np.ones((1, 46)))
    for name in single:
        np.testing.assert_allclose(doubled[name], single[name], atol=1e-12)
        np.testing.assert_allclose(repeated[name], single[name], atol=1e-12)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_weighted_figures_equal_scikit_learn_with_sample_weights(seed, decimals):
    _, probabilities, truth = _binary(61, seed, decimals)
    generator = np.random.default_rng(seed)
    weights = generator.integers(0, 4, size=(3, 61)).astype(float)
    weights[:, [0, 1]] = 1  # one row of each class always counts
    flagged = probabilities[:, 1] >= 0.45
    rows = Rows(truth.astype(np.int64), flagged.astype(np.int64), probabilities, 1)
    found = weighted_figures(rows, weights)
    for place, weight in enumerate(weights):
        expected = {
            "average_precision": sk.average_precision_score(
                truth, probabilities[:, 1], sample_weight=weight
            ),
            "roc_auc": sk.roc_auc_score(truth, probabilities[:, 1], sample_weight=weight),
            "f1": sk.f1_score(truth, flagged, sample_weight=weight, zero_division=0),
            "mcc": sk.matthews_corrcoef(truth, flagged, sample_weight=weight),
        }
        assert {name: found[name][place] for name in expected} == pytest.approx(expected, abs=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_the_order_of_rows_changes_no_figure(seed):
    labels, probabilities, _ = _binary(37, seed)
    order = np.random.default_rng(seed).permutation(37)
    there = _plain(labels, probabilities, BINARY, positive="spam", threshold=0.4)
    here = _plain(
        [labels[i] for i in order], probabilities[order], BINARY, positive="spam", threshold=0.4
    )
    assert {name: here[name] for name in METRICS} == pytest.approx(
        {name: there[name] for name in METRICS}, abs=1e-12
    )


def test_an_absent_class_leaves_figures_undefined_rather_than_pleasant():
    found = _plain(["ham"] * 3, np.array([[0.9, 0.1]] * 3), BINARY, positive="spam", threshold=0.5)
    undefined = (
        "balanced_accuracy",
        "recall",
        "precision",
        "f1",
        "mcc",
        "average_precision",
        "roc_auc",
    )
    assert [found[name] for name in undefined] == [None] * len(undefined)
    assert [found["ci95"][name] for name in undefined] == [None] * len(undefined)
    assert found["false_positive_rate"] == 0 and found["accuracy"] == 1
    only_spam = _plain(
        ["spam"] * 3, np.array([[0.1, 0.9]] * 3), BINARY, positive="spam", threshold=0.5
    )
    assert (
        only_spam["average_precision"] is None
        and only_spam["false_positive_rate"] is None
        and only_spam["recall"] == 1
    )


def test_a_class_without_rows_counts_as_in_scikit_learn():
    truth, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 2, 1, 1, 0])
    classes = ["a", "b", "c", "d"]
    found = _plain(
        [classes[i] for i in truth], np.eye(4)[predicted], classes, positive=None, threshold=None
    )
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, predicted, average="macro", zero_division=0
    )
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx(
        (precision, recall, f1)
    )
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert (
        found["per_class"][3]["precision"] is None
        and found["per_class"][3]["average_precision"] is None
    )


def test_figures_are_json_without_nan():
    labels, probabilities, _ = _binary(29, 6)
    found = _plain(labels, probabilities, BINARY, positive="spam", threshold=2.0)
    assert found["precision"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_wilson_equals_published_and_hand_computed_values():
    # Newcombe 1998, table I (method 3): 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (k, n), interval in published.items():
        assert wilson(k, n) == pytest.approx(interval, abs=5e-5)
    assert wilson(20, 20)[1] == 1.0


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(pair):
    k, n = pair
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert wilson(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_refuses_what_is_no_proportion():
    with pytest.raises(DataError, match="k = 3, n = 2"):
        wilson(3, 2)
    with pytest.raises(DataError, match="n = 0"):
        wilson(0, 0)


def test_intervals_hold_the_figure_and_repeat_with_the_seed():
    labels, probabilities, _ = _binary(211, 7)
    options: dict[str, Any] = {"positive": "spam", "threshold": 0.4}
    first = figures(labels, probabilities, BINARY, bootstrap=300, seed=5, **options)
    assert first == figures(labels, probabilities, BINARY, bootstrap=300, seed=5, **options)
    assert (
        first["ci95"]
        != figures(labels, probabilities, BINARY, bootstrap=300, seed=6, **options)["ci95"]
    )
    for name in METRICS:
        low, high = first["ci95"][name]
        # ECE is a sum of absolute values, so resampling lifts it: only there may the figure lie
        # below its interval.
        assert low <= first[name] <= high or name == "ece"
        assert low < high


def test_the_bootstrap_equals_a_slow_one():
    labels, probabilities, truth = _binary(71, 8)
    generator = np.random.default_rng(3)
    slow = []
    for _ in range(1000):
        chosen = np.concatenate(
            [
                generator.choice(np.flatnonzero(truth == side), (truth == side).sum())
                for side in (0, 1)
            ]
        )
        slow.append(sk.average_precision_score(truth[chosen], probabilities[chosen, 1]))
    found = figures(labels, probabilities, BINARY, positive="spam", threshold=0.5, bootstrap=4000)
    assert found["ci95"]["average_precision"] == pytest.approx(
        np.percentile(slow, [2.5, 97.5]).tolist(), abs=0.03
    )


def test_a_faultless_result_keeps_an_open_interval():
    probabilities = np.array([[1.0, 0.0]] * 30 + [[0.0, 1.0]] * 11)
    found = figures(
        ["ham"] * 30 + ["spam"] * 11,
        probabilities,
        BINARY,
        positive="spam",
        threshold=0.5,
        bootstrap=50,
    )
    for name in ("balanced_accuracy", "f1", "mcc", "average_precision", "roc_auc"):
        assert found["ci95"][name] == [wilson(11, 11)[0], 1.0]
    missed = figures(
        ["ham"] * 30 + ["spam"] * 11,
        probabilities,
        BINARY,
        positive="spam",
        threshold=2.0,
        bootstrap=50,
    )
    assert missed["f1"] == 0 and missed["ci95"]["f1"] == [0.0, wilson(0, 11)[1]]


def test_a_thousand_resamples_of_the_reference_test_set_take_about_a_second():
    labels, probabilities, _ = _binary(1115, 9, decimals=6)
    started = time.process_time()
    figures(labels, probabilities, BINARY, positive="spam", threshold=0.5)
    assert time.process_time() - started < 3


def test_resampling_in_blocks_changes_nothing(monkeypatch):
    labels, probabilities, _ = _binary(53, 10)
    whole = figures(labels, probabilities, BINARY, positive="spam", threshold=0.5, bootstrap=1)
    monkeypatch.setattr("tamis.evaluation.bootstrap.CHUNK_ELEMENTS", 100)
    assert (
        figures(labels, probabilities, BINARY, positive="spam", threshold=0.5, bootstrap=1) == whole
    )
    blocks = figures(labels, probabilities, BINARY, positive="spam", threshold=0.5, bootstrap=21)
    assert blocks["ci95"]["f1"][0] < blocks["f1"] < blocks["ci95"]["f1"][1]


def test_mcnemar_by_hand():
    a = np.array([True] * 10 + [False] * 5 + [True] * 1)
    b = np.array([True] * 10 + [True] * 5 + [False] * 1)
    # P(X <= 1) for X ~ B(6, 1/2) is 7 / 64, twice that two-sided.
    assert mcnemar(a, b) == {
        "model_only_wrong": 5,
        "other_only_wrong": 1,
        "p_value": pytest.approx(14 / 64),
    }
    assert mcnemar(a, a) == {"model_only_wrong": 0, "other_only_wrong": 0, "p_value": 1.0}
    with pytest.raises(DataError, match=r"\(16,\) and \(3,\)"):
        mcnemar(a, a[:3])


def test_a_collapsed_model_is_called_out_in_words():
    labels = ["ham"] * 6 + ["spam"] * 2
    constant = np.tile([0.8, 0.2], (8, 1))
    sentences = " ".join(
        collapse_warnings(labels, constant, BINARY, positive="spam", threshold=0.5)
    )
    for words in (
        "output is constant",
        "predicts 'ham' for all texts",
        "'spam' (2 rows)",
        "Recall is 0",
        "75.0 % is the same as",
    ):
        assert words in sentences
    good = np.array([[0.9, 0.1]] * 6 + [[0.1, 0.9]] * 2)
    assert collapse_warnings(labels, good, BINARY, positive="spam", threshold=0.5) == []


def test_a_class_of_many_that_is_never_predicted_is_named():
    classes = ["a", "b", "c"]
    sentences = collapse_warnings(
        ["a", "b", "c", "c"], np.eye(3)[[0, 1, 0, 1]], classes, positive=None, threshold=None
    )
    assert "'c' (2 rows)" in sentences[0]


@pytest.mark.parametrize(
    ("labels", "probabilities", "words"),
    [
        ([], np.zeros((0, 2)), "at least one row"),
        (["ham"], np.zeros((1, 3)), r"\(1, 2\), got \(1, 3\)"),
        (["ham", "spma"], np.full((2, 2), 0.5), "row 1: expected a label from .* got 'spma'"),
        (
            ["ham", "ham"],
            np.array([[0.5, 0.5], [np.nan, 1]]),
            "row 1: expected a probability distribution",
        ),
        (
            ["ham", "ham"],
            np.array([[0.5, 0.4], [0.5, 0.5]]),
            "row 0: expected a probability distribution",
        ),
    ],
)
def test_rows_that_cannot_be_judged_are_refused(labels, probabilities, words):
    with pytest.raises(DataError, match=words):
        figures(labels, probabilities, BINARY, positive="spam", threshold=0.5)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match=r"one of .'ham', 'spam'.*'eggs'"):
        figures(["ham"], np.array([[1.0, 0.0]]), BINARY, positive="eggs", threshold=0.5)
    with pytest.raises(ConfigError, match="at least 1 resample, got 0"):
        figures(
            ["ham"], np.array([[1.0, 0.0]]), BINARY, positive="spam", threshold=0.5, bootstrap=0
        )
    with pytest.raises(DataError, match="at least two different classes"):
        figures(["ham"], np.array([[1.0]]), ["ham"], positive=None, threshold=None)
