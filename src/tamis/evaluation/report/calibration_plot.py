"""The calibration plot: observed frequency by predicted probability, with intervals, and the rows
behind it.

Many rows: 15 bins of equal width, as for the ECE. Few rows: bins of equal mass, because a bin with
two rows shows only chance (Nixon et al. 2019, "Measuring Calibration in Deep Learning").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.decision.calibration import calibration_view, reliability
from tamis.evaluation.metrics import wilson
from tamis.evaluation.report.canvas import (
    BLUE,
    GREY,
    ORANGE,
    PLOT_SIZE,
    figure_with_stack,
    log_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
MANY_ROWS = 1000
"""Rows from which bins have equal width."""
_BIN_ROWS, _MOST_BINS = 12, 8
"""Rows of a bin of equal mass, and the most bins."""
ROUGH_BELOW = 100
"""Rows below which the plot says that they are few."""
_HISTOGRAM_BINS = 20


def calibration_curve(
    truth: NDArray[Any], scores: Floats, positive: int | None, before: NDArray[Any] | None
) -> Figure:
    """Observed frequency by predicted probability with 95 % intervals (Wilson); the panel below
    counts the rows.

    Args:
        truth: (N,) class of each row.
        scores: (N, K) probabilities.
        positive: the class whose probability is shown; None: the most probable class of each row.
        before: (N, K) probabilities before calibration, if they differ.
    """
    figure, (axes, below) = figure_with_stack(*PLOT_SIZE, heights=(3.4, 1))
    axes.plot(
        [0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="perfectly calibrated"
    )
    if before is not None and not np.allclose(before, scores, rtol=0, atol=1e-9):
        view = calibration_view(np.asarray(before, dtype=np.float64), truth, positive)
        _draw(axes, *view, name="before calibration", colour=ORANGE, marker="s")
        name = "after calibration"
    else:
        name = "model"
    predicted, hits = calibration_view(scores, truth, positive)
    _draw(axes, predicted, hits, name=name, colour=BLUE, marker="o", intervals=True)
    _histogram(below, predicted)
    what = "P(positive)" if positive is not None else "confidence"
    below.set(xlabel=f"predicted {what}", ylabel="rows", xlim=(-0.02, 1.02))
    few = f", {len(truth):,} rows only: rough" if len(truth) < ROUGH_BELOW else ""
    observed = "share of positives" if positive is not None else "accuracy"
    axes.set(title=f"Calibration{few}", ylabel=f"observed {observed}", ylim=(-0.04, 1.04))
    axes.legend(loc="best", fontsize=9)
    return figure


def binned(predicted: Floats, hits: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Mean prediction, observed share, and number of rows of each bin that has rows.

    Args:
        predicted: (N,) probabilities.
        hits: (N,) 0 or 1.
    """
    if len(predicted) >= MANY_ROWS:
        bins = reliability(predicted, hits)
        used = bins.rows > 0
        return bins.predicted[used], bins.observed[used], bins.rows[used]
    count = int(np.clip(len(predicted) // _BIN_ROWS, 1, _MOST_BINS))
    order = np.argsort(predicted, kind="stable")
    ranks = np.arange(len(predicted)) * count // len(predicted)
    # Equal predictions are in one bin, that of the first of them.
    _, first, place = np.unique(predicted[order], return_index=True, return_inverse=True)
    index = ranks[first[place]]
    rows = np.bincount(index, minlength=count)
    used = rows > 0
    mean = np.bincount(index, weights=predicted[order], minlength=count)[used] / rows[used]
    share = np.bincount(index, weights=hits[order], minlength=count)[used] / rows[used]
    return mean, share, rows[used]


def _draw(
    axes: Axes,
    predicted: Floats,
    hits: Floats,
    *,
    name: str,
    colour: str,
    marker: str,
    intervals: bool = False,
) -> None:
    mean, share, rows = binned(predicted, hits)
    axes.plot(mean, share, color=colour, linewidth=1.4, alpha=0.7)
    if intervals:
        bounds = np.array(
            [wilson(round(part * n), n) for part, n in zip(share, rows.tolist(), strict=True)]
        )
        around = np.maximum(0.0, [share - bounds[:, 0], bounds[:, 1] - share])
        axes.errorbar(
            mean, share, yerr=around, fmt="none", ecolor=colour, elinewidth=1.1, alpha=0.8
        )
    sizes = 20 + 120 * np.sqrt(rows / len(predicted))
    axes.scatter(mean, share, s=sizes, color=colour, marker=marker, label=name, zorder=3)


def _histogram(axes: Axes, predicted: Floats) -> None:
    """Rows by probability. Logarithmic if the bars differ so much that the small ones would not be
    seen.
    """
    edges = np.linspace(0, 1, _HISTOGRAM_BINS + 1)
    rows, _ = np.histogram(np.clip(predicted, 0, 1), bins=edges)
    axes.bar(
        edges[:-1],
        rows,
        width=np.diff(edges),
        align="edge",
        color=BLUE,
        edgecolor="white",
        linewidth=0.8,
    )
    if rows.max() > 50 * rows[rows > 0].min():
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        log_scale(axes)
    else:
        from matplotlib.ticker import MaxNLocator

        axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.grid(False, axis="x")
