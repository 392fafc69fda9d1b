"""The temperature against a grid and a known answer; the reliability bins against a slow
definition.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax as scipy_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from tamis.decision.calibration import (
    calibrate,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    softmax,
    uncalibrated,
)
from tamis.errors import DataError


def _drawn(n: int, k: int, seed: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true temperature is known: labels are drawn from softmax(logits /
    temperature).
    """
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, k)) * 4
    chances = scipy_softmax(logits / temperature, axis=1).cumsum(axis=1)
    return logits, np.minimum((generator.random((n, 1)) > chances).sum(axis=1), k - 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature):
    logits, labels = _drawn(20_000, 3, 1, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7))
def test_no_temperature_of_a_grid_has_a_lower_loss(seed, k):
    logits, labels = _drawn(53, k, seed, 2.0)
    found = calibrate(logits, labels)
    grid = np.geomspace(0.06, 19, 80)
    best = min(negative_log_likelihood(logits, labels, t) for t in grid)
    assert found.nll_after <= found.nll_before
    assert found.nll_after <= best + 1e-6 or found.notes


def test_the_loss_equals_scikit_learns_log_loss():
    logits, labels = _drawn(31, 5, 2, 1.0)
    expected = log_loss(labels, scipy_softmax(logits / 1.7, axis=1), labels=range(5))
    assert negative_log_likelihood(logits, labels, 1.7) == pytest.approx(expected)


def test_calibration_lowers_the_error_of_overconfident_logits():
    logits, labels = _drawn(3000, 2, 3, 4.0)
    found = calibrate(logits, labels)
    assert found.ece_after < 0.05 < 0.15 < found.ece_before


def _biased(rows, seed, temperature=2.0, bias=-0.8):
    """Log-odds that are `temperature` times too sure and lack `bias`."""
    random = np.random.default_rng(seed)
    truth = 2.5 * random.standard_normal(rows) - 2
    labels = (random.random(rows) < 1 / (1 + np.exp(-truth))).astype(int)
    margins = (truth - bias) * temperature
    return np.stack([-margins / 2, margins / 2], 1), labels


def test_temperature_and_bias_of_two_classes_are_scikit_learns_unpenalised_regression():
    logits, labels = _biased(2003, 1)
    found = calibrate(logits, labels, bias=True)
    plain = LogisticRegression(C=np.inf, tol=1e-10).fit(
        (logits[:, 1] - logits[:, 0])[:, None], labels
    )
    assert (1 / found.temperature, found.bias) == pytest.approx(
        (plain.coef_[0, 0], plain.intercept_[0]), rel=1e-3
    )
    assert found.temperature == pytest.approx(2.0, rel=0.15) and found.bias == pytest.approx(
        -0.8, abs=0.25
    )
    probabilities = softmax(logits / found.temperature + np.array([0, found.bias]))
    assert probabilities[:, 1].mean() == pytest.approx(labels.mean(), abs=1e-6)
    assert found.nll_after == pytest.approx(log_loss(labels, probabilities))
    assert found.nll_after < calibrate(logits, labels).nll_after


def test_what_stood_before_the_calibration_comes_back():
    logits, labels = _biased(1500, 5)
    found = calibrate(logits, labels, bias=True)
    after = softmax(logits / found.temperature + np.array([0, found.bias]))
    before = uncalibrated(after, found)
    assert before is not None
    np.testing.assert_allclose(before, softmax(logits), atol=1e-9)
    assert uncalibrated(after, None) is None
    assert uncalibrated(after, calibrate(logits[:9], labels[:9])) is None


@pytest.mark.parametrize("rows", [999, 60])
def test_too_few_rows_have_no_bias(rows):
    logits, labels = _biased(rows, 2)
    assert (
        calibrate(logits, labels, bias=True) == calibrate(logits, labels)
        and calibrate(logits, labels).bias == 0
    )


def test_too_few_mistakes_and_more_classes_have_no_bias():
    logits, labels = _biased(2000, 3)
    sure = logits[:, 1] - logits[:, 0] > 0
    few = np.where(np.arange(2000) < 40, labels, sure)
    assert 0 < (sure != few).sum() < 10
    assert calibrate(logits, few, bias=True).bias == 0
    three, kinds = _drawn(2000, 3, 4, 2.0)
    assert calibrate(three, kinds, bias=True) == calibrate(three, kinds)


@pytest.mark.parametrize(
    ("rows", "right", "words"),
    [(11, False, "11 held-out rows are too few"), (41, True, "without errors on held-out rows")],
)
def test_rows_that_cannot_show_a_temperature_leave_it_at_one(rows, right, words):
    logits, labels = _drawn(rows, 3, 4, 2.0)
    labels = logits.argmax(axis=1) if right else labels
    found = calibrate(logits, labels)
    assert found.temperature == 1.0 and found.nll_after == found.nll_before
    assert words in found.notes[0]


def test_a_temperature_at_the_bound_is_not_believed():
    logits = np.tile([9.0, -9.0], (40, 1))
    found = calibrate(
        logits, np.arange(40) % 2
    )  # half of the sure rows are wrong: no temperature is high enough
    assert found.temperature == 1.0 and "at the limit" in found.notes[0]


@given(st.lists(st.floats(-700, 700), min_size=2, max_size=9), st.floats(-500, 500))
def test_softmax_equals_scipys_and_ignores_a_shift(row, shift):
    logits = np.array([row])
    np.testing.assert_allclose(softmax(logits), scipy_softmax(logits, axis=1), atol=1e-12)
    np.testing.assert_allclose(softmax(logits + shift), softmax(logits), atol=1e-9)


def test_reliability_bins_by_hand():
    bins = reliability(np.array([0.0, 0.1, 0.2, 0.6, 1.0]), np.array([0, 1, 0, 1, 1]), bins=5)
    assert bins.rows.tolist() == [2, 1, 0, 1, 1]
    assert bins.predicted[[0, 1, 3, 4]] == pytest.approx([0.05, 0.2, 0.6, 1.0])
    assert bins.observed[[0, 1, 3, 4]] == pytest.approx([0.5, 0, 1, 1])
    assert np.isnan(bins.observed[2])
    gaps = (0.45 * 2 + 0.2 + 0.4 + 0) / 5
    error = expected_calibration_error(
        np.array([0.0, 0.1, 0.2, 0.6, 1.0]), np.array([0, 1, 0, 1, 1]), bins=5
    )
    assert error == pytest.approx(gaps)


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), r"\(0, 2\) and \(0,\)"),
        (np.zeros((3, 2)), np.zeros(2, int), r"\(3, 2\) and \(2,\)"),
        (np.array([[0.0, 1], [np.inf, 0]]), np.zeros(2, int), "row 1 are not finite"),
        (np.zeros((2, 2)), np.array([0, 2]), "0 to 1, got 0 to 2"),
    ],
)
def test_logits_that_cannot_be_calibrated_are_refused(logits, labels, words):
    with pytest.raises(DataError, match=words):
        calibrate(logits, labels)
