"""From held-out scores to a rule: a slow scan of every cut, numbers worked out by hand, and what
few rows cannot settle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tamis.config import DecisionSettings, Recipe
from tamis.decision.calibration import softmax
from tamis.decision.fit_rule import LEVEL_ROWS, Decision, HeldOut, fit_decision_rule
from tamis.decision.prior import log_prior_correction, prior_shift
from tamis.errors import ConfigError

CLASSES = ["ham", "spam"]


def decide(
    logits: NDArray,
    targets: NDArray,
    classes: list[str],
    *,
    positive: str | None,
    settings: DecisionSettings,
    **rest: Any,
) -> Decision:
    return fit_decision_rule(HeldOut(logits, targets, classes, positive), settings, **rest)


def held_out(rows: int = 211, spam: int = 31, *, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits that tell the classes apart, though not wholly, and are three times too sure."""
    random = np.random.default_rng(seed)
    targets = np.zeros(rows, dtype=np.int64)
    targets[:spam] = 1
    margin = random.normal(np.where(targets == 1, 1.2, -1.2), 1.0)
    return 3 * np.stack([-margin / 2, margin / 2], 1), targets


def f1(flagged: np.ndarray, truth: np.ndarray) -> float:
    return 2 * (flagged & truth).sum() / (flagged.sum() + truth.sum())


def test_no_other_cut_has_an_f1_that_is_better_by_more_than_three_rows_of_spam() -> None:
    logits, targets = held_out()
    decision = decide(
        logits, targets, CLASSES, positive="spam", settings=DecisionSettings(abstain_rate=0.02)
    )
    scores, truth = decision.probabilities[:, 1], targets == 1
    assert decision.rule.threshold is not None
    best = max(scores, key=lambda cut: f1(scores >= cut, truth))
    three_missed = scores >= best
    three_missed[np.flatnonzero(three_missed & truth)[:LEVEL_ROWS]] = False
    assert (
        f1(three_missed, truth)
        <= f1(scores >= decision.rule.threshold, truth)
        <= f1(scores >= best, truth)
    )


def test_the_cut_with_a_budget_is_the_lowest_that_keeps_it() -> None:
    logits, targets = held_out()
    decision = decide(
        logits,
        targets,
        CLASSES,
        positive="spam",
        settings=DecisionSettings(max_fpr=0.05, abstain_rate=0.02),
    )
    scores, ham = decision.probabilities[:, 1], targets == 0
    assert decision.rule.threshold is not None
    flagged = scores >= decision.rule.threshold
    assert flagged[ham].sum() == int(
        0.05 * 180
    )  # of 180 ham rows nine may be blocked, and nine are
    below = np.sort(scores[~flagged])[-1]
    assert (scores >= below)[ham].mean() > 0.05


def test_the_temperature_undoes_scores_that_are_too_sure() -> None:
    random = np.random.default_rng(11)
    margin = random.normal(0, 2, 4001)
    targets = (random.random(4001) < 1 / (1 + np.exp(-margin))).astype(np.int64)
    logits = 3 * np.stack([-margin / 2, margin / 2], 1)
    decision = decide(
        logits, targets, CLASSES, positive="spam", settings=DecisionSettings(abstain_rate=0.0)
    )
    assert decision.temperature == pytest.approx(3, rel=0.1)
    assert np.allclose(
        decision.probabilities, softmax(logits / decision.temperature + decision.shift)
    )


def test_scores_that_lean_to_one_class_are_put_right_and_left_where_asked_for_as_trained() -> None:
    random = np.random.default_rng(12)
    margin = random.normal(-1, 2, 4001)
    targets = (random.random(4001) < 1 / (1 + np.exp(-margin))).astype(np.int64)
    logits = np.stack([-(margin + 1.5) / 2, (margin + 1.5) / 2], 1)
    for positive in CLASSES:
        decision = decide(logits, targets, CLASSES, positive=positive, settings=DecisionSettings())
        assert decision.calibration is not None and decision.calibration.bias == pytest.approx(
            -1.5, abs=0.2
        )
        assert np.allclose(
            decision.probabilities.mean(0), [1 - targets.mean(), targets.mean()], atol=1e-5
        )
    as_trained = decide(
        logits, targets, CLASSES, positive="spam", settings=DecisionSettings(prior="trained")
    )
    assert not as_trained.shift.any()
    stated = decide(logits, targets, CLASSES, positive="spam", settings=DecisionSettings(prior=0.5))
    share = targets.mean()
    assert stated.calibration is not None
    assert stated.shift[1] - stated.shift[0] == pytest.approx(
        stated.calibration.bias - np.log(share / (1 - share)), abs=1e-9
    )


def test_the_unsure_band_holds_its_share_around_the_threshold() -> None:
    logits, targets = held_out()
    rule = decide(
        logits, targets, CLASSES, positive="spam", settings=DecisionSettings(abstain_rate=0.1)
    ).rule
    assert rule.low is not None and rule.high is not None and rule.threshold is not None
    assert rule.low <= rule.threshold <= rule.high
    probabilities = decide(
        logits, targets, CLASSES, positive="spam", settings=DecisionSettings(abstain_rate=0.1)
    ).probabilities
    assert rule.unsure(probabilities, CLASSES).sum() == 22  # a tenth of 211, rounded up


def test_no_share_means_no_band() -> None:
    logits, targets = held_out()
    rule = decide(
        logits, targets, CLASSES, positive="spam", settings=DecisionSettings(abstain_rate=0.0)
    ).rule
    assert rule.low is None and rule.high is None


def test_a_budget_finer_than_the_rows_is_said_to_be_so_with_its_bound() -> None:
    logits, targets = held_out(rows=71, spam=11)
    decision = decide(
        logits,
        targets,
        CLASSES,
        positive="spam",
        settings=DecisionSettings(max_fpr=0.001, abstain_rate=0.02),
    )
    assert decision.threshold is not None and not decision.threshold.resolved
    # One-sided Clopper-Pearson with none of 60 blocked: 1 - 0.05 ** (1 / 60).
    assert decision.threshold.false_positive_rate_upper95 == pytest.approx(1 - 0.05 ** (1 / 60))
    note = " ".join(decision.notes)
    assert (
        "60 ham rows are too few for max_fpr = 0.1" in note
        and "up to 4.87 % (upper 95 % bound)" in note
    )


@pytest.mark.parametrize("targets", [[], [0, 0, 0]])
def test_without_held_out_rows_of_both_classes_nothing_is_chosen_and_a_note_says_so(
    targets: list[int],
) -> None:
    logits = np.zeros((len(targets), 2))
    decision = decide(
        logits,
        np.array(targets, dtype=np.int64),
        CLASSES,
        positive="spam",
        settings=DecisionSettings(abstain_rate=0.02),
    )
    assert (decision.rule.threshold, decision.rule.low, decision.temperature) == (0.5, None, 1.0)
    assert decision.threshold is None and "Some classes have no held-out rows" in decision.notes[0]
    assert decision.probabilities.shape == (len(targets), 2)


def test_three_classes_get_a_floor_and_no_threshold() -> None:
    random = np.random.default_rng(2)
    targets = np.arange(151) % 3
    logits = random.normal(0, 1, (151, 3))
    logits[np.arange(151), targets] += 1.5
    decision = decide(
        logits, targets, ["a", "b", "c"], positive=None, settings=DecisionSettings(abstain_rate=0.1)
    )
    assert decision.rule.threshold is None and decision.rule.confidence_floor is not None
    assert (
        decision.rule.unsure(decision.probabilities, ["a", "b", "c"]).sum() == 16
    )  # a tenth of 151, rounded up


def test_a_budget_for_three_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"decision\.max_fpr needs two classes; the data have 3"):
        decide(
            np.zeros((3, 3)),
            np.arange(3),
            ["a", "b", "c"],
            positive=None,
            settings=DecisionSettings(max_fpr=0.01, abstain_rate=0.02),
        )


def cost(flagged: np.ndarray, truth: np.ndarray, *, blocked: float, missed: float) -> float:
    return float(blocked * (flagged & ~truth).sum() + missed * (~flagged & truth).sum())


def calibrated(rows: int = 20001, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the chance itself: normal margins around -2 and 2 with variance 4 are
    their own log-odds.
    """
    random = np.random.default_rng(4)
    targets = (random.random(rows) < share).astype(np.int64)
    margin = random.normal(np.where(targets == 1, 2.0, -2.0), 2.0) + np.log(share / (1 - share))
    return np.stack([-margin / 2, margin / 2], 1), targets


@pytest.mark.parametrize(("blocked", "missed"), [(10.0, 1.0), (1.0, 1.0), (1.0, 4.0)])
def test_the_threshold_of_costs_is_their_ratio_and_costs_least_on_calibrated_scores(
    blocked: float, missed: float
) -> None:
    logits, targets = calibrated()
    settings = DecisionSettings(costs={"blocked": blocked, "missed": missed})
    decision = decide(logits, targets, CLASSES, positive="spam", settings=settings)
    assert decision.rule.threshold is not None and decision.rule.threshold == pytest.approx(
        blocked / (blocked + missed)
    )
    scores, truth = decision.probabilities[:, 1], targets == 1
    cuts = np.linspace(0.02, 0.99, 98)
    least = min(cost(scores >= cut, truth, blocked=blocked, missed=missed) for cut in cuts)
    assert (
        cost(scores >= decision.rule.threshold, truth, blocked=blocked, missed=missed)
        <= 1.03 * least
    )


def test_a_cost_of_asking_makes_the_band_where_asking_is_cheapest() -> None:
    logits, targets = calibrated(2001)
    settings = DecisionSettings(costs={"blocked": 10.0, "missed": 1.0, "unsure": 0.5})
    rule = decide(logits, targets, CLASSES, positive="spam", settings=settings).rule
    # P(spam) = .5 to .95: below, letting it pass costs less than .5; above, blocking does.
    assert rule.low == pytest.approx(0.5) and rule.high == pytest.approx(0.95)
    dear = DecisionSettings(costs={"blocked": 10.0, "missed": 1.0, "unsure": 0.95})
    assert (
        decide(logits, targets, CLASSES, positive="spam", settings=dear).rule.low is None
    )  # asking never pays


def test_costs_come_from_the_command_line_and_both_are_needed() -> None:
    recipe = Recipe().changed({"decision.costs": "blocked=10, missed=1,unsure=.5"})
    assert recipe.decision.costs == {"blocked": 10.0, "missed": 1.0, "unsure": 0.5}
    with pytest.raises(
        ConfigError, match="expected the costs of a blocked negative and of a missed positive"
    ):
        Recipe().changed({"decision.costs": "blocked=10"})
    both = DecisionSettings(costs={"blocked": 1.0, "missed": 1.0}, max_fpr=0.1)
    with pytest.raises(ConfigError, match="give only one of them"):
        decide(*held_out(), CLASSES, positive="spam", settings=both)
    with pytest.raises(ConfigError, match=r"decision\.prior needs two classes"):
        decide(
            np.zeros((3, 3)),
            np.arange(3),
            ["a", "b", "c"],
            positive=None,
            settings=DecisionSettings(prior=0.1),
        )


def test_a_stated_prior_makes_scores_hold_in_a_world_with_that_share() -> None:
    logits, targets = calibrated(40001, share=0.5)
    decision = decide(
        logits, targets, CLASSES, positive="spam", settings=DecisionSettings(prior=0.05)
    )
    assert decision.calibration is not None
    bias = decision.calibration.bias
    wanted = [
        -bias / 2,
        bias / 2 + np.log(0.05 / 0.95) - np.log(targets.mean() / (1 - targets.mean())),
    ]
    np.testing.assert_allclose(decision.shift, wanted, atol=1e-9)
    scores, truth = decision.probabilities[:, 1], targets == 1
    weight = np.where(
        truth, 0.05 / truth.mean(), 0.95 / (~truth).mean()
    )  # the same rows, as often as in that world
    for low, high in ((0.02, 0.1), (0.1, 0.3), (0.3, 0.7), (0.7, 1.0)):
        inside = (scores >= low) & (scores < high)
        assert np.average(truth[inside], weights=weight[inside]) == pytest.approx(
            np.average(scores[inside], weights=weight[inside]), abs=0.05
        )

    # The best F1 is the best of that world: a scan of every cut with weighted counts.
    def world_f1(cut: float) -> float:
        flagged = scores >= cut
        return float(
            2 * weight[flagged & truth].sum() / (weight[flagged].sum() + weight[truth].sum())
        )

    assert decision.rule.threshold is not None
    assert (
        world_f1(decision.rule.threshold)
        >= max(world_f1(cut) for cut in np.linspace(0.01, 0.99, 99)) - 0.002
    )
    assert world_f1(decision.rule.threshold) > world_f1(0.05 / 0.95) + 0.05


def test_a_budget_is_kept_whatever_the_prior() -> None:
    logits, targets = held_out()
    plain, stated = (
        decide(
            logits,
            targets,
            CLASSES,
            positive="spam",
            settings=DecisionSettings(max_fpr=0.05, prior=prior),
        )
        for prior in ("rows", 0.02)
    )
    assert plain.rule.threshold is not None and stated.rule.threshold is not None
    before, after = (
        plain.probabilities[:, 1] >= plain.rule.threshold,
        stated.probabilities[:, 1] >= stated.rule.threshold,
    )
    assert np.array_equal(before, after) and stated.rule.threshold < plain.rule.threshold


def test_shares_in_training_are_undone_by_their_logarithms() -> None:
    # 90 ham and 10 spam rows, spam weighed nine times: trained as if half were spam.
    shift = log_prior_correction(np.array([90, 10]), np.array([90.0, 90.0]))
    assert shift[1] - shift[0] == pytest.approx(np.log(10 / 90)) and shift.sum() == pytest.approx(0)
    assert not log_prior_correction(np.array([90, 10]), np.array([9.0, 1.0])).any()
    np.testing.assert_allclose(prior_shift(0.5, 0.1, 1), [0, np.log(1 / 9)])


def test_without_held_out_rows_the_labels_stay_those_of_the_trained_scores() -> None:
    corrected = log_prior_correction(np.array([90, 10]), np.array([90.0, 90.0]))
    decision = decide(
        np.empty((0, 2)),
        np.empty(0, dtype=np.int64),
        CLASSES,
        positive="spam",
        settings=DecisionSettings(),
        uncorrected=corrected,
    )
    assert decision.rule.threshold == pytest.approx(
        0.1
    )  # a trained 0.5 is a tenth where a tenth is spam
