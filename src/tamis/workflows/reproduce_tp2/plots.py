"""The three plots of question 9: loss, accuracy, and recall against the majority class."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.evaluation.report.canvas import figure_with_axes, house_style, percent, save_png
from tamis.workflows.reproduce_tp2 import reported

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOTS = {
    "loss": "Class-weighted loss on all training rows; the thin line is the loss of each full "
    "batch",
    "accuracy": "Accuracy on all training rows and on all test rows, with that of the majority "
    "class",
    "recall": "Recall on all training rows and on all test rows, with accuracy and recall of the "
    "majority class",
}
"""Captions by name, in order."""


SIZE = (5.6, 4.9)
"""Inches: small, so that the letters can be read on a phone."""


LONGEST_NAME = 20
"""Columns of a class name in a plot; a Chinese character takes two."""


@dataclass(frozen=True)
class Colours:
    """Colours of a plot on a light or on a dark page; blue and orange are those of Okabe & Ito."""

    paper: str
    ink: str
    grid: str
    blue: str
    orange: str
    grey: str


LIGHT = Colours("#ffffff", "#222222", "#e6e6e6", "#0072b2", "#d55e00", "#6f6f6f")
DARK = Colours("#18181b", "#ececef", "#3a3a40", "#56b4e9", "#e69f00", "#a0a0a8")


@dataclass(frozen=True)
class Curves:
    """What the plots show."""

    points: list[dict[str, Any]]
    steps: list[dict[str, float]]
    sought: str
    majority: str
    majority_accuracy: float
    classes: int


def _short(label: str) -> str:
    """A class name that fits into a legend."""
    from rich.cells import cell_len, chop_cells

    if cell_len(label) <= LONGEST_NAME:
        return label
    return chop_cells(label, LONGEST_NAME - 1)[0] + "…"


def write_plots(folder: Path, curves: Curves) -> dict[str, Path]:
    """Write the plots as PNG files for a light page and return them by name."""
    return _written(folder, curves, LIGHT)


def dark_plots(curves: Curves) -> dict[str, bytes]:
    """Return the plots as PNG files for a dark page, by name."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = _written(Path(folder), curves, DARK)
        return {name: path.read_bytes() for name, path in drawn.items()}


def _written(folder: Path, curves: Curves, colours: Colours) -> dict[str, Path]:
    with house_style(), _coloured(colours):
        return {
            name: save_png(figure, folder / f"{name}.png")
            for name, figure in figures(curves, colours).items()
        }


def figures(curves: Curves, colours: Colours = LIGHT) -> dict[str, Figure]:
    """Draw the plots and return them by name."""
    draw: dict[str, Callable[[Axes, Curves, Colours], None]] = {
        "loss": _loss,
        "accuracy": _accuracy,
        "recall": _recall,
    }
    drawn = {}
    for name, content in draw.items():
        figure, axes = figure_with_axes(*SIZE)
        content(axes, curves, colours)
        _legend(axes, figure)
        drawn[name] = figure
    return drawn


def _coloured(colours: Colours) -> Any:
    import matplotlib

    ink, paper = colours.ink, colours.paper
    return matplotlib.rc_context(
        {
            "text.color": ink,
            "axes.labelcolor": ink,
            "axes.titlecolor": ink,
            "xtick.color": ink,
            "ytick.color": ink,
            "figure.facecolor": paper,
            "axes.facecolor": paper,
            "savefig.facecolor": paper,
            "axes.edgecolor": colours.grey,
            "grid.color": colours.grid,
        }
    )


def _legend(axes: Axes, figure: Figure) -> None:
    """Below the plot: no curve is hidden, wherever it runs."""
    axes.set_xlabel("step")
    figure.legend(loc="outside lower left", ncols=1, fontsize=9)


def _loss(axes: Axes, curves: Curves, colours: Colours) -> None:
    size = max(step["rows"] for step in curves.steps)
    # The last batch has the rows that are left; its loss cannot be compared with the others.
    steps = [step for step in curves.steps if step["rows"] == size]
    axes.plot(
        [step["step"] for step in steps],
        [step["loss"] for step in steps],
        color=colours.grey,
        alpha=0.75,
        linewidth=0.9,
        label="each full batch",
    )
    axes.plot(
        [point["step"] for point in curves.points],
        [point["loss"] for point in curves.points],
        color=colours.blue,
        label="all training rows",
    )
    guess = math.log(curves.classes)
    axes.axhline(
        guess,
        color=colours.ink,
        linestyle="--",
        linewidth=1.2,
        label=f"equal probabilities, ln {curves.classes} = {guess:.3f}",
    )
    axes.axhspan(
        *reported.LOSS, color=colours.orange, alpha=0.12, linewidth=0, label="reported: 0.5 to 0.9"
    )
    highest = max(*(entry["loss"] for entry in [*curves.points, *steps]), reported.LOSS[1], guess)
    axes.set(title="Loss", ylabel="class-weighted cross-entropy (nats)", ylim=(0, 1.08 * highest))


def _accuracy(axes: Axes, curves: Curves, colours: Colours) -> None:
    _shares(axes, curves, colours, "accuracy")
    _majority(axes, curves, colours)
    axes.axhline(
        reported.ACCURACY,
        color=colours.orange,
        linestyle=":",
        linewidth=1.6,
        label="reported: about 86 % (train and test)",
    )
    axes.set(title="Accuracy", ylabel="share of rows that are right", ylim=(-0.03, 1.03))


def _recall(axes: Axes, curves: Curves, colours: Colours) -> None:
    _shares(axes, curves, colours, "recall")
    _majority(axes, curves, colours)
    axes.axhline(
        reported.RECALL,
        color=colours.orange,
        linestyle=":",
        linewidth=1.6,
        label=f"reported recall, and that of always {_short(curves.majority)}: 0 %",
    )
    axes.set(
        title=f"Recall of {_short(curves.sought)}",
        ylabel=f"share of {_short(curves.sought)} that is found",
        ylim=(-0.03, 1.03),
    )


def _shares(axes: Axes, curves: Curves, colours: Colours, key: str) -> None:
    """The curves of training and test rows; the end of the latter is the figure of question 10."""
    for part, colour, style in (("train", colours.blue, "-"), ("test", colours.ink, "-.")):
        known = [point for point in curves.points if (point[part] or {}).get(key) is not None]
        if not known:
            continue
        last = known[-1]
        axes.plot(
            [point["step"] for point in known],
            [point[part][key] for point in known],
            color=colour,
            linestyle=style,
            marker="o",
            markersize=5,
            markevery=[len(known) - 1],
            label=f"all {part} rows, {percent(last[part][key])} at the end",
        )


def _majority(axes: Axes, curves: Curves, colours: Colours) -> None:
    accuracy = percent(curves.majority_accuracy)
    axes.axhline(
        curves.majority_accuracy,
        color=colours.grey,
        linestyle="--",
        linewidth=1.4,
        label=f"always {_short(curves.majority)}: test accuracy {accuracy}",
    )
