"""The calibration plot: bins of equal mass for few rows, intervals, and axes with plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tamis.decision.calibration import reliability
from tamis.evaluation.metrics import wilson
from tamis.evaluation.report import calibration_plot, canvas


def drawn(rows: int, seed: int = 3) -> tuple[Any, np.ndarray, np.ndarray]:
    """The figure of calibrated scores, most of them near 0; the scores and what is positive."""
    generator = np.random.default_rng(seed)
    scores = generator.beta(0.15, 0.8, size=rows)
    truth = (generator.random(rows) < scores).astype(np.int64)
    with canvas.house_style():
        figure = calibration_plot.calibration_curve(
            truth, np.stack([1 - scores, scores], 1), 1, None
        )
        figure.canvas.draw()
    return figure, scores, truth


def test_few_rows_have_bins_of_equal_mass() -> None:
    generator = np.random.default_rng(0)
    scores = generator.beta(0.2, 1, size=97)
    hits = (generator.random(97) < scores).astype(float)
    mean, share, rows = calibration_plot.binned(scores, hits)
    assert rows.sum() == 97 and len(rows) == 8 and set(rows.tolist()) == {12, 13}
    order = np.argsort(scores)
    assert mean[0] == pytest.approx(scores[order[: rows[0]]].mean())
    assert share[-1] == pytest.approx(hits[order[-rows[-1] :]].mean())


def test_equal_scores_are_in_one_bin() -> None:
    mean, share, rows = calibration_plot.binned(
        np.array([0.1] * 40 + [0.9] * 10), np.array([1.0] * 4 + [0.0] * 36 + [1.0] * 10)
    )
    assert rows.tolist() == [40, 10]
    assert mean == pytest.approx([0.1, 0.9]) and share == pytest.approx([0.1, 1.0])
    assert calibration_plot.binned(np.array([0.3]), np.array([1.0]))[2].tolist() == [1]


def test_many_rows_have_the_bins_of_the_ece() -> None:
    scores = np.random.default_rng(5).random(calibration_plot.MANY_ROWS)
    hits = (scores > 0.5).astype(float)
    mean, _, rows = calibration_plot.binned(scores, hits)
    assert rows.tolist() == reliability(scores, hits).rows.tolist() and len(mean) == 15


@pytest.mark.parametrize(("rows", "rough"), [(25, True), (99, True), (100, False), (4000, False)])
def test_few_rows_are_noted(rows: int, rough: bool) -> None:
    figure, *_ = drawn(rows)
    title = figure.axes[0].get_title(loc="left")
    assert ("rough" in title and f"{rows} rows" in title) is rough


def test_points_have_their_95_percent_intervals() -> None:
    figure, scores, truth = drawn(200)
    _, share, rows = calibration_plot.binned(scores, truth.astype(float))
    (bars,) = (one for one in figure.axes[0].collections if hasattr(one, "get_segments"))
    for segment, part, n in zip(bars.get_segments(), share, rows.tolist(), strict=True):
        assert segment[:, 1].tolist() == pytest.approx(wilson(round(part * n), n))


@pytest.mark.parametrize("rows", [25, 300, 1000, 30_000])
def test_axes_have_plain_numbers(rows: int) -> None:
    figure, scores, _ = drawn(rows)
    below = figure.axes[1]
    low, high = below.get_ylim()
    labels = [
        label.get_text()
        for value, label in zip(below.get_yticks(), below.get_yticklabels(), strict=True)
        if low <= value <= high
    ]
    assert len(labels) >= 2, labels
    every = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    every += [label.get_text() for axes in figure.axes for label in axes.get_yticklabels("minor")]
    assert not [text for text in every if "$" in text or "math" in text or "{" in text]
    counts, _ = np.histogram(scores, bins=20, range=(0, 1))
    assert sum(bar.get_height() for bar in below.patches) == counts.sum() == rows


@pytest.mark.parametrize(("low", "high"), [(0.7, 4), (0.7, 40), (1, 300), (0.01, 1e6)])
def test_a_logarithmic_axis_has_two_labels_or_more(low: float, high: float) -> None:
    with canvas.house_style():
        figure, axes = canvas.figure_with_axes()
        axes.plot([0, 1], [low, high])
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        canvas.log_scale(axes)
        figure.canvas.draw()
    shown = [
        label.get_text()
        for value, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        if low <= value <= high
    ]
    assert 2 <= len(shown) <= 10
    assert all(float(text.replace(",", "")) > 0 for text in shown), shown
