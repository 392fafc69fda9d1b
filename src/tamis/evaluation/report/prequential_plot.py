"""The learning curves of a replay: 1-ROCA % of the messages so far, one panel a kind of feedback,
one line a filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.evaluation.prequential import PrequentialFigures
from tamis.evaluation.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    figure_with_stack,
    house_style,
    save_png,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMALLEST = 0.01
"""Percent; a logarithmic axis has no zero, so what is below is drawn there."""
_LINES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, ":"), (GREY, "-."))


def write_learning_curves(path: Path, results: Sequence[PrequentialFigures]) -> Path:
    """Write the figure as a PNG, beside and renamed."""
    with house_style():
        return save_png(learning_curves(results), path)


def learning_curves(results: Sequence[PrequentialFigures]) -> Figure:
    """One panel for every kind of feedback; a filter that does not learn is drawn in all of
    them.
    """
    learning = list(dict.fromkeys(result.feedback for result in results if result.feedback))
    names = list(dict.fromkeys(result.filter for result in results))
    figure, panels = figure_with_stack(
        7.0, 1.2 + 2.6 * max(1, len(learning)), heights=(1.0,) * max(1, len(learning))
    )
    for axes, feedback in zip(panels, learning or [""], strict=True):
        for result in results:
            if result.feedback not in ("", feedback) or not result.curve:
                continue
            colour, line = _LINES[names.index(result.filter) % len(_LINES)]
            messages, values = zip(*result.curve, strict=True)
            axes.plot(
                messages,
                [max(value, _SMALLEST) for value in values],
                color=colour,
                linestyle=line,
                label=result.filter,
            )
        axes.set(title=f"Feedback: {feedback or 'none'}", ylabel="1-ROCA % so far", yscale="log")
        axes.set_ylim(bottom=_SMALLEST * 0.8)
    panels[-1].set_xlabel("messages")
    panels[0].legend(loc="best", fontsize=9)
    return figure
