"""The replay: no label before its time, figures against hand-computed numbers and
scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tamis import ConfigError, DataError
from tamis.evaluation.prequential import (
    Feedback,
    PrequentialFigures,
    Replay,
    feedbacks,
    learning_curve,
    logistic_average,
    prequential_figures,
    prequential_rows,
    replay,
    roc_auc,
    roc_auc_resampled,
)
from tamis.evaluation.report.prequential_plot import learning_curves, write_learning_curves

GENERATOR = np.random.default_rng(4)
TRUTH = np.arange(90) % 4 == 0
SCORES = np.round(
    np.clip(0.35 * TRUTH + GENERATOR.random(90) * 0.65, 0, 1), 1
)  # rounded: with ties


@dataclass
class Witness:
    """Writes down what it is asked and told, in order; a score tells how many labels it knew."""

    asked: list[int] = field(default_factory=list)
    told: list[tuple[int, NDArray[np.int64]]] = field(default_factory=list)
    known: int = 0

    def learn(self, known: NDArray[np.int64]) -> None:
        self.told.append((len(self.asked), known))
        self.known = len(known)

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        self.asked += rows.tolist()
        return np.full(len(rows), float(self.known))


@given(
    st.integers(1, 200),
    st.integers(0, 60),
    st.sampled_from([0.05, 0.5, 1.0]),
    st.sampled_from([0.0, 0.1, 0.7]),
)
def test_every_message_is_judged_once_and_no_label_is_told_before_its_time(
    n: int, delay: int, share: float, growth: float
) -> None:
    witness, kind = Witness(), Feedback("x", delay=delay, share=share)
    found = replay(witness, kind, n, growth=growth)
    after = kind.known_after(n)
    assert witness.asked == list(range(n)) and len(found.scores) == n
    for judged, known in witness.told:
        assert known.tolist() == np.flatnonzero(after <= judged).tolist() and len(known)
    assert found.steps == len(witness.told) and found.labels == (after <= n).sum() <= max(
        0, n - delay
    )
    sizes = [len(known) for _, known in witness.told]
    assert all(
        later >= earlier + max(1, int(earlier * growth)) for earlier, later in pairwise(sizes)
    )
    # What is due is learnt at once: whoever judges knows all but the few labels that do not yet
    # make a step.
    for position, knew in enumerate(found.scores.astype(int).tolist()):
        assert int((after <= position).sum()) < knew + max(1, int(knew * growth))


def test_immediate_feedback_learns_after_each_of_the_first_twenty_then_more_rarely() -> None:
    witness = Witness()
    found = replay(witness, Feedback("immediate"), 100)
    sizes = [len(known) for _, known in witness.told]
    assert sizes == [
        *range(1, 21),
        22,
        24,
        26,
        28,
        30,
        33,
        36,
        39,
        42,
        46,
        50,
        55,
        60,
        66,
        72,
        79,
        86,
        94,
    ]
    assert found.steps == len(sizes) and found.scores[:4].tolist() == [0, 1, 2, 3]


def test_delayed_and_partial_feedback_are_what_they_say() -> None:
    immediate, delayed, partial = feedbacks(30, 0.25)
    assert [kind.name for kind in (immediate, delayed, partial)] == [
        "immediate",
        "delayed by 30",
        "partial (25 %)",
    ]
    assert immediate.known_after(5).tolist() == [1, 2, 3, 4, 5]
    assert delayed.known_after(100)[[0, 68, 69, 99]].tolist() == [31, 99, 100, 101]
    known = partial.known_after(10_000)
    chosen = known <= 10_000
    assert 0.23 < chosen.mean() < 0.27 and np.array_equal(known[chosen], np.flatnonzero(chosen) + 1)
    assert np.array_equal(known, partial.known_after(10_000)) and not np.array_equal(
        known, partial.known_after(10_000, seed=1)
    )


@pytest.mark.parametrize(
    ("delay", "share", "words"), [(-1, 1.0, "delay"), (0, 0.0, "share"), (0, 1.1, "share")]
)
def test_a_delay_or_share_out_of_range_is_refused(delay: int, share: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Feedback("x", delay=delay, share=share)


def test_the_area_is_scikit_learns_ties_half() -> None:
    assert roc_auc(SCORES[TRUTH], SCORES[~TRUTH]) == pytest.approx(roc_auc_score(TRUTH, SCORES))
    assert roc_auc(np.array([0.5]), np.array([0.5, 0.4, 0.6, 0.5])) == 0.5


def test_a_draw_is_the_area_of_rows_drawn_with_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = roc_auc_resampled(SCORES[TRUTH], SCORES[~TRUTH], 400, seed=3)
    slow = []
    generator = np.random.default_rng(11)
    for _ in range(400):
        spam, ham = (generator.choice(SCORES[kind], int(kind.sum())) for kind in (TRUTH, ~TRUTH))
        slow.append(roc_auc(spam, ham))
    assert len(draws) == 400 and draws.mean() == pytest.approx(np.mean(slow), abs=0.01)
    assert np.percentile(draws, [2.5, 97.5]) == pytest.approx(
        np.percentile(slow, [2.5, 97.5]), abs=0.03
    )
    monkeypatch.setattr(
        "tamis.evaluation.prequential.BLOCK_ELEMENTS", 200
    )  # in many blocks: other draws of the same kind
    assert roc_auc_resampled(SCORES[TRUTH], SCORES[~TRUTH], 400, seed=3).std() == pytest.approx(
        draws.std(), rel=0.2
    )


def test_the_logistic_average_is_the_mean_of_the_log_odds() -> None:
    # 9 and a half of 91 in 100, 0.5 and 10.5 of 10: odds 9.5 / 91.5 and 0.5 / 10.5.
    odds = np.sqrt(9.5 / 91.5 * 0.5 / 10.5)
    assert logistic_average(9, 100, 0, 10) == pytest.approx(100 * odds / (1 + odds))
    assert logistic_average(50, 100, 5, 10) == pytest.approx(50)


def test_figures_are_counted_at_the_threshold() -> None:
    figures = prequential_figures(
        "f", "immediate", Replay(SCORES, 90, 12), TRUTH, threshold=0.5, resamples=200
    )
    flagged = SCORES >= 0.5
    assert figures.ham_misclassification == pytest.approx(100 * flagged[~TRUTH].mean())
    assert figures.spam_misclassification == pytest.approx(100 * (~flagged)[TRUTH].mean())
    assert figures.one_minus_roca == pytest.approx(100 * (1 - roc_auc_score(TRUTH, SCORES)))
    for value, interval in (
        (figures.one_minus_roca, figures.one_minus_roca_ci95),
        (figures.ham_misclassification, figures.ham_misclassification_ci95),
    ):
        assert value is not None and interval is not None and 0 <= interval[0] < value < interval[1]
    assert (figures.messages, figures.labels, figures.steps) == (90, 90, 12)
    assert figures.curve[-1][0] == 90 and figures.curve[-1][1] == pytest.approx(
        figures.one_minus_roca
    )
    assert PrequentialFigures(**figures.to_dict()).to_dict() == figures.to_dict()


def test_the_curve_is_of_the_messages_so_far() -> None:
    for end, value in learning_curve(SCORES, TRUTH, points=7):
        assert value == pytest.approx(100 * (1 - roc_auc_score(TRUTH[:end], SCORES[:end])))
    assert learning_curve(SCORES, TRUTH)[0][0] == 2
    assert learning_curve(SCORES[:3], np.zeros(3, dtype=bool)) == []


def test_one_class_alone_has_the_figures_that_it_can_have() -> None:
    figures = prequential_figures(
        "f", "", Replay(SCORES[~TRUTH], 0, 0), TRUTH[~TRUTH], threshold=0.5
    )
    assert (
        figures.ham_misclassification is not None
        and figures.spam_misclassification is figures.lam is figures.one_minus_roca is None
    )
    assert prequential_rows([figures])[1][0][4:] == ["-", "-", "-"]


def test_scores_and_truth_of_other_lengths_are_refused() -> None:
    for truth in (TRUTH[:-1], TRUTH[:0]):
        with pytest.raises(DataError, match="one label per message"):
            prequential_figures("f", "", Replay(SCORES, 0, 0), truth, threshold=0.5)


def several() -> list[PrequentialFigures]:
    one = prequential_figures(
        "as it is", "", Replay(SCORES, 0, 0), TRUTH, threshold=0.5, resamples=50
    )
    two = prequential_figures(
        "learning",
        "immediate",
        Replay(np.maximum(SCORES, 0.9 * TRUTH), 90, 9),
        TRUTH,
        threshold=0.5,
        resamples=50,
    )
    return [
        one,
        two,
        prequential_figures(
            "learning", "delayed by 5", Replay(SCORES, 85, 9), TRUTH, threshold=0.5, resamples=50
        ),
    ]


def test_the_table_has_a_row_a_filter_and_feedback() -> None:
    header, rows = prequential_rows(several())
    assert header[:3] == ["filter", "feedback", "labels"] and [row[:3] for row in rows] == [
        ["as it is", "", "0"],
        ["learning", "immediate", "90"],
        ["learning", "delayed by 5", "85"],
    ]
    assert all(len(row) == len(header) for row in rows) and rows[1][4].startswith("0.00 0.00 to ")


def test_the_plot_has_a_panel_a_feedback_and_a_line_a_filter(tmp_path: Path) -> None:
    figure = learning_curves(several())
    assert [axes.get_title() for axes in figure.axes] == [
        "Feedback: immediate",
        "Feedback: delayed by 5",
    ]
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 2]
    assert all(
        np.asarray(line.get_ydata()).min() >= 0.01
        for axes in figure.axes
        for line in axes.get_lines()
    )
    path = write_learning_curves(tmp_path / "curves.png", several())
    assert (
        path.read_bytes() == write_learning_curves(tmp_path / "again.png", several()).read_bytes()
    )
    assert path.read_bytes().startswith(b"\x89PNG") and [
        p.name for p in sorted(tmp_path.iterdir())
    ] == ["again.png", "curves.png"]
