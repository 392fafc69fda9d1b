"""Learning curves of a prequential evaluation: 1-ROCA % of the messages so far, one panel per kind
of feedback, one line per filter.
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
    log_scale,
    save_png,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMALLEST = 0.01
"""Percent; smaller values are drawn here, because a logarithmic axis has no zero."""
_LINES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, ":"), (GREY, "-."))


def write_learning_curves(path: Path, results: Sequence[PrequentialFigures]) -> Path:
    """Write the plot as a PNG file."""
    with house_style():
        return save_png(learning_curves(results), path)


def learning_curves(results: Sequence[PrequentialFigures]) -> Figure:
    """One panel per kind of feedback. A filter that does not learn is shown in all panels."""
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
        axes.set(
            title=f"Feedback: {feedback or 'none'}",
            ylabel="1-ROCA % of messages so far",
        )
        log_scale(axes)
        axes.set_ylim(bottom=_SMALLEST * 0.8)
    panels[-1].set_xlabel("number of messages")
    panels[0].legend(loc="best", fontsize=9)
    return figure
