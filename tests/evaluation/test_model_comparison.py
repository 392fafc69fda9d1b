"""Two classifiers on the same rows: McNemar by hand, differences as the metrics have them, an
interval that holds zero where the classifiers are level, Holm by hand.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from tamis.errors import DataError
from tamis.evaluation.bootstrap import Rows
from tamis.evaluation.metrics import METRICS
from tamis.evaluation.model_comparison import compare, holm


def judged(count: int, skill: float, seed: int, *, positive: int | None = 1) -> Rows:
    """Every fifth row is of class 1; a higher skill separates the classes better."""
    labels = np.arange(count) % 5 == 0
    scores = 1 / (1 + np.exp(-np.random.default_rng(seed).normal(skill * (labels - 0.5), 1)))
    probabilities = np.stack([1 - scores, scores], axis=1)
    return Rows(labels.astype(np.int64), probabilities.argmax(1), probabilities, positive)


def test_the_errors_of_one_alone_are_counted_and_tested() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 0])
    flat = np.full((7, 2), 0.5)
    first = Rows(labels, np.array([0, 0, 1, 0, 0, 0, 0]), flat, 1)
    second = Rows(labels, np.array([0, 1, 0, 1, 1, 0, 0]), flat, 1)
    found = compare(first, second, resamples=20)
    assert (found.first_only_wrong, found.second_only_wrong) == (3, 1)
    assert found.p_value == pytest.approx(binomtest(3, 4).pvalue)


def test_differences_are_those_of_the_metrics() -> None:
    first, second = judged(301, 1.0, 1), judged(301, 3.0, 2)
    found = compare(first, second, resamples=50)
    assert set(found.metrics) == set(METRICS)
    expected = [f1_score(rows.labels, rows.predicted) for rows in (first, second)]
    f1 = found.metrics["f1"]
    assert (f1.first, f1.second) == pytest.approx(expected)
    assert f1.difference == pytest.approx(expected[1] - expected[0])
    low, high = f1.ci95 or (0.0, 0.0)
    assert 0 < low < expected[1] - expected[0] < high


def test_level_classifiers_have_an_interval_that_holds_zero() -> None:
    found = compare(judged(301, 1.5, 1), judged(301, 1.5, 2), resamples=300)
    low, high = found.metrics["average_precision"].ci95 or (1.0, 1.0)
    assert low < 0 < high
    same = compare(judged(301, 1.5, 1), judged(301, 1.5, 1), resamples=50)
    assert same.metrics["f1"].ci95 == (0.0, 0.0) and same.p_value == 1.0


def test_a_metric_that_is_not_defined_has_no_difference() -> None:
    found = compare(judged(50, 1, 1, positive=None), judged(50, 1, 2, positive=None), resamples=20)
    assert found.metrics["false_positive_rate"].difference is None
    assert found.metrics["false_positive_rate"].ci95 is None
    assert found.metrics["accuracy"].ci95 is not None


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    first, second = judged(100, 1, 1), judged(100, 2, 2)
    one, two, three = (compare(first, second, resamples=50, seed=s) for s in (1, 1, 2))
    assert one == two
    assert one.metrics["brier"].ci95 != three.metrics["brier"].ci95


def test_other_rows_are_refused() -> None:
    with pytest.raises(DataError, match="same labels"):
        compare(judged(10, 1, 1), judged(11, 1, 1))
    with pytest.raises(DataError, match="same positive class"):
        compare(judged(10, 1, 1), judged(10, 1, 1, positive=0))


def test_holm_by_hand() -> None:
    # Sorted: 0.01 * 3, 0.03 * 2, 0.04 * 1 is below the one before and takes its value.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9]) == [0.9] and holm([]) == [] and holm([0.6, 0.7]) == [1.0, 1.0]
