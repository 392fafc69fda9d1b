"""From held-out scores to a rule: a slow scan of every cut, numbers worked out by hand, and what few rows cannot settle."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.decision import decide
from tamis.errors import ConfigError
from tamis.evaluation.calibration import softmax

CLASSES = ["ham", "spam"]


def held_out(rows: int = 211, spam: int = 31, *, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits that tell the classes apart, though not wholly, and are three times too sure."""
    random = np.random.default_rng(seed)
    targets = np.zeros(rows, dtype=np.int64)
    targets[:spam] = 1
    margin = random.normal(np.where(targets == 1, 1.2, -1.2), 1.0)
    return 3 * np.stack([-margin / 2, margin / 2], 1), targets


def f1(flagged: np.ndarray, truth: np.ndarray) -> float:
    return 2 * (flagged & truth).sum() / (flagged.sum() + truth.sum())


def test_no_other_cut_has_an_f1_that_is_better_by_more_than_one_row_of_spam() -> None:
    logits, targets = held_out()
    decision = decide(logits, targets, CLASSES, positive="spam", max_blocked=None, unsure_share=0.02)
    scores, truth = decision.probabilities[:, 1], targets == 1
    assert decision.rule.threshold is not None
    best = max(scores, key=lambda cut: f1(scores >= cut, truth))
    one_missed = scores >= best
    one_missed[np.flatnonzero(one_missed & truth)[0]] = False
    assert f1(one_missed, truth) <= f1(scores >= decision.rule.threshold, truth) <= f1(scores >= best, truth)


def test_the_cut_with_a_budget_is_the_lowest_that_keeps_it() -> None:
    logits, targets = held_out()
    decision = decide(logits, targets, CLASSES, positive="spam", max_blocked=0.05, unsure_share=0.02)
    scores, ham = decision.probabilities[:, 1], targets == 0
    assert decision.rule.threshold is not None
    flagged = scores >= decision.rule.threshold
    assert flagged[ham].sum() == int(0.05 * 180)  # of 180 ham rows nine may be blocked, and nine are
    below = np.sort(scores[~flagged])[-1]
    assert (scores >= below)[ham].mean() > 0.05


def test_the_temperature_undoes_scores_that_are_too_sure() -> None:
    random = np.random.default_rng(11)
    margin = random.normal(0, 2, 4001)
    targets = (random.random(4001) < 1 / (1 + np.exp(-margin))).astype(np.int64)
    logits = 3 * np.stack([-margin / 2, margin / 2], 1)
    decision = decide(logits, targets, CLASSES, positive="spam", max_blocked=None, unsure_share=0.0)
    assert decision.temperature == pytest.approx(3, rel=0.1)
    assert np.allclose(decision.probabilities, softmax(logits / decision.temperature))


def test_the_unsure_band_holds_its_share_around_the_threshold() -> None:
    logits, targets = held_out()
    rule = decide(logits, targets, CLASSES, positive="spam", max_blocked=None, unsure_share=0.1).rule
    assert rule.low is not None and rule.high is not None and rule.threshold is not None
    assert rule.low <= rule.threshold <= rule.high
    probabilities = decide(logits, targets, CLASSES, positive="spam", max_blocked=None, unsure_share=0.1).probabilities
    assert rule.unsure(probabilities, CLASSES).sum() == 22  # a tenth of 211, rounded up


def test_no_share_means_no_band() -> None:
    logits, targets = held_out()
    rule = decide(logits, targets, CLASSES, positive="spam", max_blocked=None, unsure_share=0.0).rule
    assert rule.low is None and rule.high is None


def test_a_budget_finer_than_the_rows_is_said_to_be_so_with_its_bound() -> None:
    logits, targets = held_out(rows=71, spam=11)
    decision = decide(logits, targets, CLASSES, positive="spam", max_blocked=0.001, unsure_share=0.02)
    assert decision.threshold is not None and not decision.threshold.resolved
    # One-sided Clopper-Pearson with none of 60 blocked: 1 - 0.05 ** (1 / 60).
    assert decision.threshold.blocked_ham_upper95 == pytest.approx(1 - 0.05 ** (1 / 60))
    note = " ".join(decision.notes)
    assert "60 ham rows cannot show a budget of 0.1" in note and "up to 4.87 % (upper 95 % bound)" in note


@pytest.mark.parametrize("targets", [[], [0, 0, 0]])
def test_without_held_out_rows_of_both_classes_nothing_is_chosen_and_a_note_says_so(targets: list[int]) -> None:
    logits = np.zeros((len(targets), 2))
    decision = decide(logits, np.array(targets, dtype=np.int64), CLASSES, positive="spam", max_blocked=None, unsure_share=0.02)
    assert (decision.rule.threshold, decision.rule.low, decision.temperature) == (0.5, None, 1.0)
    assert decision.threshold is None and "no held-out rows of every class" in decision.notes[0]
    assert decision.probabilities.shape == (len(targets), 2)


def test_three_classes_get_a_floor_and_no_threshold() -> None:
    random = np.random.default_rng(2)
    targets = np.arange(151) % 3
    logits = random.normal(0, 1, (151, 3))
    logits[np.arange(151), targets] += 1.5
    decision = decide(logits, targets, ["a", "b", "c"], positive=None, max_blocked=None, unsure_share=0.1)
    assert decision.rule.threshold is None and decision.rule.floor is not None
    assert decision.rule.unsure(decision.probabilities, ["a", "b", "c"]).sum() == 16  # a tenth of 151, rounded up


def test_a_budget_for_three_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"verdict\.max_blocked needs two classes; the data have 3"):
        decide(np.zeros((3, 3)), np.arange(3), ["a", "b", "c"], positive=None, max_blocked=0.01, unsure_share=0.02)
