"""Figures over folds: against the figures of each fold alone, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef

from tamis.evaluation.fold_spread import fold_figures, folds_sentence

RANDOM = np.random.default_rng(4)
TRUTH = RANDOM.integers(0, 2, 61)
SCORES = np.clip(0.5 * TRUTH + 0.25 + 0.4 * RANDOM.standard_normal(61), 0.01, 0.99)
PARTS = RANDOM.integers(0, 4, 61)
LABELS = [("ham", "spam")[t] for t in TRUTH]


def test_each_folds_figures_are_scikit_learns_and_the_spread_is_theirs() -> None:
    found = fold_figures(
        LABELS,
        np.stack([1 - SCORES, SCORES], 1),
        PARTS,
        ["ham", "spam"],
        positive="spam",
        threshold=0.6,
    )
    assert (found["folds"], found["rows"]) == (4, 61)
    flagged = SCORES >= 0.6
    wanted = {
        "average_precision": [
            average_precision_score(TRUTH[PARTS == k], SCORES[PARTS == k]) for k in range(4)
        ],
        "f1": [f1_score(TRUTH[PARTS == k], flagged[PARTS == k]) for k in range(4)],
        "mcc": [matthews_corrcoef(TRUTH[PARTS == k], flagged[PARTS == k]) for k in range(4)],
        "accuracy": [(TRUTH == flagged)[PARTS == k].mean() for k in range(4)],
    }
    for key, each in wanted.items():
        assert found["figures"][key]["each"] == pytest.approx(each)
        assert found["figures"][key]["mean"] == pytest.approx(np.mean(each))
        assert found["figures"][key]["sd"] == pytest.approx(np.std(each, ddof=1))
    sentence = folds_sentence(found)
    assert sentence.startswith(
        "4-fold cross-validation on the 61 training rows (mean ± standard deviation over the "
        "folds): "
        "average precision "
    )
    assert f"F1 {np.mean(wanted['f1']):.3f} ± {np.std(wanted['f1'], ddof=1):.3f}" in sentence


def test_a_fold_without_a_class_is_left_out_of_what_it_cannot_have() -> None:
    scores = np.array([0.9, 0.2, 0.8, 0.3])
    table = np.stack([1 - scores, scores], 1)
    found = fold_figures(
        ["b", "a", "b", "b"], table, np.array([0, 0, 1, 1]), ["a", "b"], positive="b", threshold=0.5
    )
    assert found["figures"]["mcc"] == {"mean": 1.0, "sd": None, "each": [1.0, None]}
    assert found["figures"]["accuracy"]["each"] == [1.0, 0.5]
    assert "Matthews correlation 1.000, accuracy 0.750 ± 0.354." in folds_sentence(found)
    assert folds_sentence(None) == ""
