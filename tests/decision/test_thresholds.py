"""Thresholds and unsure bands against brute-force scans over every cut and every window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binom

from tamis.decision.reject_band import MARGIN, confidence_floor, reject_band
from tamis.decision.thresholds import choose_threshold, threshold_at, upper_bound
from tamis.errors import ConfigError, DataError

SCORES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.75, 1.0]))
ROWS = st.lists(st.tuples(SCORES, st.booleans()), min_size=2, max_size=30).filter(
    lambda rows: len({positive for _, positive in rows}) == 2
)


def _arrays(rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in rows]), np.array([positive for _, positive in rows])


def _every_cut(scores, truth) -> list[tuple[float, int, int]]:
    """(lowest score flagged, positives flagged, negatives flagged) of every cut, slowly; inf flags
    nothing.
    """
    cuts = []
    for value in [*sorted(set(scores.tolist())), float("inf")]:
        flagged = [score >= value for score in scores]
        hits = sum(f and t for f, t in zip(flagged, truth, strict=True))
        cuts.append((value, hits, sum(flagged) - hits))
    return cuts


@given(ROWS)
def test_the_best_f1_is_that_of_a_brute_force_scan(rows):
    scores, truth = _arrays(rows)
    positives = int(truth.sum())
    scan = [
        (2 * hits / (hits + blocked + positives), -blocked, hits)
        for _, hits, blocked in _every_cut(scores, truth)
    ]
    _, blocked, hits = max(scan)
    chosen = choose_threshold(scores, truth, max_fpr=None)
    assert chosen.recall == hits / positives
    assert chosen.false_positive_rate == -blocked / int((~truth).sum())
    assert chosen.rule == "best F1" and chosen.resolved and chosen.notes == []


@given(ROWS, st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.001, 0.1, 1 / 3, 0.5, 1.0])))
def test_the_budget_is_kept_by_the_lowest_cut_of_a_brute_force_scan(rows, budget):
    scores, truth = _arrays(rows)
    negatives = int((~truth).sum())
    allowed = [cut for cut in _every_cut(scores, truth) if cut[2] / negatives <= budget + 1e-9]
    _, hits, blocked = min(allowed)
    chosen = choose_threshold(scores, truth, max_fpr=budget)
    assert chosen.recall == hits / int(truth.sum())
    assert chosen.false_positive_rate == blocked / negatives
    assert chosen.resolved == (budget * negatives >= 1 - 1e-9)


@given(ROWS, st.sampled_from([None, 0.0, 0.2]))
def test_a_threshold_lies_on_no_score_unless_neighbouring_floats_leave_no_room(rows, budget):
    scores, truth = _arrays(rows)
    value = choose_threshold(scores, truth, max_fpr=budget).value
    if value in scores and value > 0:
        below = scores[scores < value]
        assert len(below) and (np.nextafter(below.max(), 1) == value or value < 1e-300)


def test_neighbouring_floats_are_told_apart():
    for low in (
        0.5,
        float(np.nextafter(0.5, 1)),
    ):  # one of the two middles rounds down, the other up
        scores = np.array([low, np.nextafter(low, 1)])
        chosen = choose_threshold(scores, np.array([False, True]), max_fpr=None)
        assert (chosen.recall, chosen.false_positive_rate) == (1, 0)


def test_the_cut_is_the_middle_of_the_gap():
    scores, truth = np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, False, True, True])
    assert choose_threshold(scores, truth, max_fpr=None).value == pytest.approx(0.4)
    assert choose_threshold(scores, truth, max_fpr=0.5).value == pytest.approx(0.15)


def test_of_cuts_with_equal_f1_the_highest_is_taken():
    # Flagging one row gives F1 2/3, flagging all four (two of them ham) gives 4/6: the same.
    scores, truth = np.array([0.9, 0.7, 0.6, 0.5]), np.array([True, False, False, True])
    chosen = choose_threshold(scores, truth, max_fpr=None)
    assert chosen.value == pytest.approx(0.8) and chosen.false_positive_rate == 0


def test_level_cuts_are_settled_by_theory_and_lose_no_more_than_the_rows_stated():
    # The best cut, 0.95, has no mistake and F1 1; at 0.57 a ham row is blocked, F1 8/9, more than
    # the 6/7 of one more miss.
    scores, truth = (
        np.array([0.99, 0.98, 0.97, 0.96, 0.94, 0.2, 0.1]),
        np.array([True, True, True, True, False, False, False]),
    )
    assert choose_threshold(scores, truth, max_fpr=None).value == pytest.approx(0.95)
    level = choose_threshold(scores, truth, max_fpr=None, level_rows=1)
    assert level.value == pytest.approx((0.94 + 0.2) / 2), "the cut nearest to one half"
    assert level.recall == 1 and level.false_positive_rate == 1 / 3
    assert (
        choose_threshold(scores, truth, max_fpr=None, level_rows=3, level_share=0.25).value
        == level.value
    )  # one of the four found
    assert choose_threshold(
        scores, truth, max_fpr=None, level_rows=3, level_share=0.24
    ).value == pytest.approx(0.95)  # none of them


@given(ROWS)
def test_a_level_cut_is_as_good_as_the_best_with_one_more_positive_missed(rows):
    scores, truth = _arrays(rows)
    positives = int(truth.sum())
    cuts = [
        (2 * hits / (hits + blocked + positives), hits, blocked)
        for _, hits, blocked in _every_cut(scores, truth)
    ]
    highest = next(
        cut for cut in sorted(cuts, key=lambda cut: cut[1] + cut[2]) if cut[0] == max(cuts)[0]
    )
    chosen = choose_threshold(scores, truth, max_fpr=None, level_rows=1)
    flagged = scores >= chosen.value
    f1 = 2 * int((flagged & truth).sum()) / (int(flagged.sum()) + positives)
    best, hits, blocked = highest
    assert f1 >= (best if hits <= 1 else 2 * (hits - 1) / (hits - 1 + blocked + positives)) - 1e-12


def test_too_few_negatives_cannot_show_the_budget_and_it_says_so():
    scores = np.concatenate([np.linspace(0, 0.5, 390), np.linspace(0.4, 1, 60)])
    truth = np.arange(450) >= 390
    chosen = choose_threshold(scores, truth, max_fpr=0.001, negative="ham")
    assert not chosen.resolved and chosen.false_positive_rate == 0
    assert "390 ham rows are too few for max_fpr = 0.1 %" in chosen.notes[0]
    assert chosen.false_positive_rate_upper95 == pytest.approx(1 - 0.05 ** (1 / 390))
    assert "0.765 %" in chosen.notes[0]
    enough = choose_threshold(scores, truth, max_fpr=0.05, negative="ham")
    assert enough.resolved and enough.false_positive_rate == 19 / 390


def test_a_budget_that_leaves_nothing_to_flag_says_so():
    chosen = choose_threshold(np.array([0.2, 1.0]), np.array([True, False]), max_fpr=0.0)
    assert chosen.value > 1 and chosen.recall == 0
    assert "recall is 0" in chosen.notes[-1]


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_the_upper_bound_is_where_so_few_become_unlikely(pair):
    k, n = pair
    assert binom.cdf(k, n, upper_bound(k, n)) == pytest.approx(0.05, rel=1e-6)
    assert upper_bound(n, n) == 1


def test_a_fixed_threshold_is_described_the_same_way():
    fixed = threshold_at(0.5, np.array([0.5, 0.4, 0.9]), np.array([True, True, False]))
    assert (fixed.value, fixed.rule, fixed.recall, fixed.false_positive_rate) == (
        0.5,
        "fixed",
        0.5,
        1.0,
    )


@pytest.mark.parametrize("budget", [-0.1, 1.5, float("nan")])
def test_a_budget_outside_0_and_1_is_refused(budget):
    with pytest.raises(ConfigError, match=r"expected a fraction .*in \[0, 1\]"):
        choose_threshold(np.array([0.1, 0.9]), np.array([False, True]), max_fpr=budget)


@pytest.mark.parametrize(
    ("scores", "truth", "words"),
    [
        ([0.1, 0.2], [False, False], "all 2 rows are negative"),
        ([0.1, 0.2], [True, True], "all 2 rows are positive"),
        ([0.1, 1.2], [True, False], "row 1: expected a probability .* got 1.2"),
        ([float("nan"), 0.2], [True, False], "row 0: expected a probability .* got nan"),
        ([0.1], [True, False], r"\(1,\), \(2,\)"),
    ],
)
def test_rows_that_allow_no_threshold_are_refused(scores, truth, words):
    with pytest.raises(DataError, match=words):
        choose_threshold(np.array(scores), np.array(truth), max_fpr=None)


@given(ROWS, st.floats(0.001, 1), st.floats(0, 1))
@example([(0.5, True), (1.0, True), (0.3, False)], 0.2, 1.0)
@example([(0.3, False), (0.9, True), (0.2, False)], 0.2, 0.9)
def test_the_unsure_band_holds_the_rows_likeliest_to_be_wrong(rows, share, threshold):
    scores, truth = _arrays(rows)
    wanted = int(np.ceil(share * len(scores) - 1e-9))
    band = reject_band(scores, truth, threshold, share=share)
    assert band is not None and band.low <= threshold <= band.high
    inside = (scores >= band.low) & (scores <= band.high)
    doubt = [1 - score if score >= threshold else score for score in scores.tolist()]
    assert inside.sum() >= wanted
    # The band contains the threshold, so a row exactly there is inside, whatever its doubt.
    at_end = scores == min(threshold, 1.0)
    doubt_inside = [d for d, row in zip(doubt, inside & ~at_end, strict=True) if row]
    if doubt_inside and not inside.all():
        assert min(doubt_inside) >= max(d for d, row in zip(doubt, inside, strict=True) if not row)
    least = sorted(doubt)[-wanted]
    ties = sum(d >= least - 1e-15 for d in doubt)
    assert inside.sum() <= ties + at_end.sum()  # no more than the ties at its ends
    wrong = (scores >= threshold) != truth
    assert (
        band.share == pytest.approx(inside.mean()) and band.errors_inside == (inside & wrong).sum()
    )
    assert (band.error_rate_outside is None) == bool(inside.all())


def test_a_strict_threshold_has_its_band_below_it():
    scores = np.array([0.001, 0.002, 0.2, 0.4, 0.9, 0.97, 0.999, 0.9995])
    band = reject_band(scores, scores > 0.3, 0.95, share=0.25)
    # In doubt by .9 and .4; the flagged .97 by .03.
    assert band is not None
    assert (band.low, band.high) == pytest.approx((0.4 - MARGIN, 0.95 + MARGIN), abs=1e-12)
    assert (band.share, band.errors_inside, band.error_rate_outside) == (0.25, 2, 0.0)


def test_the_band_by_hand():
    scores = np.array([0.01, 0.3, 0.45, 0.6, 0.99])
    band = reject_band(scores, np.array([False, False, True, True, True]), 0.5, share=0.4)
    assert band is not None
    assert (band.low, band.high) == pytest.approx((0.45 - MARGIN, 0.6 + MARGIN), abs=1e-12)
    assert (band.share, band.errors_inside, band.error_rate_outside) == (0.4, 1, 0.0)


def test_no_share_is_no_band():
    assert reject_band(np.array([0.1, 0.9]), np.array([False, True]), 0.5, share=0) is None
    assert confidence_floor(np.eye(2), np.array([True, True]), 0) is None


def test_a_threshold_above_one_has_a_band_too():
    band = reject_band(np.array([0.1, 0.9]), np.array([False, True]), 1.0000000000000002, share=0.5)
    assert band is not None and (band.low, band.high) == (0.9 - MARGIN, 1.0)


def test_a_row_at_an_end_of_the_band_stays_unsure_where_its_score_is_rounded_otherwise():
    scores = np.array([0.01, 0.3, 0.45, 0.6, 0.6 + 1e-6, 0.99])
    band = reject_band(scores, scores > 0.5, 0.5, share=0.3)
    assert band is not None and band.share == pytest.approx(2 / 6)
    for near in (0.45 - 2e-6, 0.6 + 4e-7):
        assert band.low <= near <= band.high
    # Half of the way to the next row, no further: no other row gets in.
    assert band.high == pytest.approx(0.6 + 5e-7, abs=1e-9) and band.low == 0.45 - MARGIN


@given(st.lists(st.floats(0.34, 1), min_size=1, max_size=30), st.floats(0.01, 1))
def test_the_floor_holds_its_share_and_no_more_than_ties_need(tops, share):
    top = np.array(tops)
    probabilities = np.stack([top, 1 - top], axis=1)
    probabilities = np.maximum(probabilities, probabilities[:, ::-1])
    floor = confidence_floor(probabilities, np.ones(len(tops), dtype=bool), share)
    assert floor is not None
    kept = probabilities.max(axis=1)
    below = kept < floor.value
    wanted = int(np.ceil(share * len(tops) - 1e-9))
    assert below.sum() >= wanted
    assert (kept[below] < kept[below].max()).sum() < wanted
    assert floor.share == pytest.approx(below.mean()) and floor.errors_inside == 0


def test_an_unsure_share_outside_0_and_1_is_refused():
    with pytest.raises(ConfigError, match="got 2"):
        reject_band(np.array([0.1, 0.9]), np.array([False, True]), 0.5, share=2)
    with pytest.raises(ConfigError, match="got -1"):
        confidence_floor(np.eye(2), np.array([True, True]), -1)
