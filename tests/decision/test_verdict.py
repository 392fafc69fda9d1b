"""Labels and verdicts from probabilities, against cases worked out by hand."""

from __future__ import annotations

import numpy as np

from tamis.decision.verdict import DecisionRule, Verdict

CLASSES = ["ham", "spam"]


def spam(*scores: float) -> np.ndarray:
    return np.array([[1 - p, p] for p in scores])


def test_a_score_on_the_threshold_is_positive() -> None:
    rule = DecisionRule(positive="spam", threshold=0.25)
    assert rule.labels(spam(0.0, 0.24, 0.25, 0.9), CLASSES).tolist() == [0, 0, 1, 1]


def test_the_threshold_is_about_the_positive_label_wherever_it_stands() -> None:
    rule = DecisionRule(positive="ham", threshold=0.75)
    assert rule.labels(spam(0.1, 0.25, 0.26, 0.9), CLASSES).tolist() == [0, 0, 1, 1]


def test_a_threshold_above_one_flags_nothing_and_one_of_zero_everything() -> None:
    assert DecisionRule(positive="spam", threshold=1.5).labels(
        spam(0.0, 1.0), CLASSES
    ).tolist() == [0, 0]
    assert DecisionRule(positive="spam", threshold=0.0).labels(
        spam(0.0, 1.0), CLASSES
    ).tolist() == [1, 1]


def test_without_a_threshold_the_most_probable_label_wins_and_nothing_is_unsure() -> None:
    scores = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    assert DecisionRule().labels(scores, ["a", "b", "c"]).tolist() == [1, 0]
    assert not DecisionRule().unsure(scores, ["a", "b", "c"]).any()


def test_both_ends_of_the_band_are_unsure() -> None:
    rule = DecisionRule(positive="spam", threshold=0.5, low=0.4, high=0.6)
    assert rule.unsure(spam(0.39, 0.4, 0.5, 0.6, 0.61), CLASSES).tolist() == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_many_classes_are_unsure_below_the_floor_only() -> None:
    scores = np.array([[0.5, 0.25, 0.25], [0.49, 0.26, 0.25], [0.1, 0.1, 0.8]])
    assert DecisionRule(confidence_floor=0.5).unsure(scores, ["a", "b", "c"]).tolist() == [
        False,
        True,
        False,
    ]


def test_no_rows_give_no_labels() -> None:
    rule = DecisionRule(positive="spam", threshold=0.5, low=0.4, high=0.6)
    assert (
        len(rule.labels(np.empty((0, 2)), CLASSES))
        == len(rule.unsure(np.empty((0, 2)), CLASSES))
        == 0
    )


def test_a_verdict_has_the_keys_of_predict_json() -> None:
    verdict = Verdict("hi", "ham", "unsure", {"ham": 0.5, "spam": 0.5})
    assert verdict.to_dict() == {
        "text": "hi",
        "label": "ham",
        "verdict": "unsure",
        "probabilities": {"ham": 0.5, "spam": 0.5},
    }
