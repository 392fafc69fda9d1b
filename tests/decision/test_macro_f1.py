"""The threshold of two classes of equal worth: hand-computed numbers, scikit-learn's macro F1 over
every cut, and the optimum of calibrated scores.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tamis.config import DecisionSettings
from tamis.decision.fit_rule import HeldOutScores, choose_rule
from tamis.decision.macro_f1 import best_macro_f1, macro_f1_of, macro_f1_threshold
from tamis.decision.thresholds import choose_threshold
from tamis.errors import ConfigError, DataError

ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.8, 1.0]), st.booleans()),
    min_size=2,
    max_size=25,
).filter(lambda rows: len({positive for _, positive in rows}) == 2)
# 10 rows in falling order of the score; one more "yes" found at .30 costs four "no".
SCORES = np.array([0.95, 0.9, 0.7, 0.6, 0.55, 0.5, 0.45, 0.4, 0.3, 0.1])
TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 0, 1, 0], dtype=bool)


def macro(scores: np.ndarray, truth: np.ndarray, cut: float) -> float:
    return float(f1_score(truth, scores >= cut, average="macro", zero_division=0.0))


def test_the_best_macro_f1_by_hand() -> None:
    """Three of four found without a mistake: F1 6/7 of "yes", 12/13 of "no"."""
    chosen = macro_f1_threshold(SCORES, TRUTH)
    assert chosen.value == pytest.approx(0.65)  # midway between .7 and .6
    assert (chosen.recall, chosen.false_positive_rate) == (3 / 4, 0.0)
    assert chosen.rule == "best macro F1"
    assert best_macro_f1(SCORES, TRUTH) == pytest.approx((6 / 7 + 12 / 13) / 2)


def test_both_classes_count_where_the_f1_of_one_would_flag_nearly_everything() -> None:
    """Scores that say little: flagging all five rows has an F1 of 6/8 of "yes", and 0 of "no"."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    truth = np.array([1, 0, 1, 0, 1], dtype=bool)
    one = choose_threshold(scores, truth, max_fpr=None)
    assert one.recall == 1.0 and one.false_positive_rate == 1.0  # all flagged: F1 .75
    both = macro_f1_threshold(scores, truth)
    # One of three found, none blocked: F1 2/4 of "yes", 4/6 of "no"; mean 7/12. Two found, one
    # blocked: 4/6 and 2/4, the same mean; the higher cut is taken.
    assert both.recall == pytest.approx(1 / 3) and both.false_positive_rate == 0.0
    assert best_macro_f1(scores, truth) == pytest.approx(7 / 12)


@given(ROWS)
def test_no_cut_has_a_better_macro_f1_by_scikit_learn(rows) -> None:
    scores = np.array([score for score, _ in rows])
    truth = np.array([positive for _, positive in rows])
    chosen = macro_f1_threshold(scores, truth)
    best = max(macro(scores, truth, cut) for cut in [*scores.tolist(), 1.1])
    assert macro(scores, truth, chosen.value) == pytest.approx(best)
    assert best_macro_f1(scores, truth) == pytest.approx(best)


@given(ROWS)
def test_turning_the_classes_round_changes_nothing(rows) -> None:
    scores = np.array([score for score, _ in rows])
    truth = np.array([positive for _, positive in rows])
    assert best_macro_f1(scores, truth) == pytest.approx(best_macro_f1(1 - scores, ~truth))


def test_a_level_cut_is_the_one_at_the_optimum_and_loses_no_more_than_the_rows_stated() -> None:
    strict = macro_f1_threshold(SCORES, TRUTH)
    level = macro_f1_threshold(SCORES, TRUTH, level_rows=1)
    # With one "yes" missed more: 2 of 4 found, none blocked: 4/6 and 12/14.
    least = (4 / 6 + 12 / 14) / 2
    assert macro(SCORES, TRUTH, level.value) >= least - 1e-12
    # The optimum by hand: F = 6/7, G = 12/13, A = 3 + 4 = 7, B = 7 + 6 = 13,
    # (6/7 * 13 + (2 - 12/13) * 7) / 40 = .4670. Cuts with a macro F1 of at least .762: .8 (.762),
    # .65 (.890), .575 (.822 is 6/8 and 10/12: .792), .525 (6/9, 8/11: .697) is below.
    assert strict.value == pytest.approx(0.65) and level.value == pytest.approx(0.575)
    assert macro_f1_threshold(SCORES, TRUTH, level_rows=3, level_share=0.3).value == strict.value


@pytest.mark.parametrize("share", [0.04, 0.3, 0.5])
def test_the_optimum_is_where_one_more_row_changes_nothing(share: float) -> None:
    """On calibrated scores the best cut of very many rows is the optimum; for half of each class it
    is near 1/2, for few positives below it.
    """
    random = np.random.default_rng(3)
    margin = random.normal(np.log(share / (1 - share)), 1.5, 60_000)
    scores = 1 / (1 + np.exp(-margin))
    truth = random.random(len(scores)) < scores
    best = macro_f1_threshold(scores, truth)
    settled = macro_f1_threshold(scores, truth, level_rows=50)
    assert settled.value == pytest.approx(best.value, abs=0.04)
    assert macro(scores, truth, best.value) - macro(scores, truth, settled.value) < 2e-3
    if share == 0.5:
        assert settled.value == pytest.approx(0.5, abs=0.02)
    else:
        assert settled.value < 0.48


def test_a_stated_share_weighs_the_classes() -> None:
    """Of 5 rows 2 are positive, of those to come 1 in 11: a negative counts 10 * 2 / 3 times."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    truth = np.array([0, 1, 1, 0, 0], dtype=bool)
    plain = macro_f1_threshold(scores, truth)
    assert plain.value == pytest.approx(0.65) and plain.recall == 1.0
    rare = macro_f1_threshold(scores, truth, prior=1 / 11)
    odds = 10 * 2 / 3
    counts = [(0, 0), (0, 1), (1, 1), (2, 1), (2, 2), (2, 3)]
    found = [
        macro_f1_of(np.array([hits]), np.array([odds * blocked]), (2, 3 * odds))[0]
        for hits, blocked in counts
    ]
    assert found[3] == max(found) and rare.value == plain.value
    rarer = macro_f1_threshold(scores, truth, prior=0.002)
    assert rarer.value > 0.9 and rarer.recall == 0.0


def test_a_class_that_is_absent_is_refused() -> None:
    with pytest.raises(DataError, match="positive and negative rows"):
        macro_f1_threshold(np.array([0.2, 0.4]), np.array([True, True]))


def test_the_setting_chooses_the_rule_and_a_budget_or_costs_come_first() -> None:
    rows = HeldOutScores(SCORES, TRUTH)

    def rule(**settings) -> str:
        chosen = choose_rule(rows, ["no", "yes"], "yes", DecisionSettings(**settings))
        assert chosen.threshold is not None
        return chosen.threshold.rule

    assert rule(scoring="f1_macro") == "best macro F1"
    assert rule(scoring="f1") == rule() == "best F1"
    assert rule(scoring="f1_macro", max_fpr=0.2) == "at most 20 % blocked"
    assert "cost" in rule(scoring="f1_macro", costs={"blocked": 2.0, "missed": 1.0})


def test_the_f1_of_one_class_needs_two() -> None:
    three = HeldOutScores(np.array([0.5, 0.9]), np.array([True, False]))
    settings = DecisionSettings(scoring="f1")
    with pytest.raises(ConfigError, match="scoring = f1 needs two classes; the data have 3"):
        choose_rule(three, ["a", "b", "c"], None, settings)
