"""Plot of the results: the time of each rival as a multiple of tamis's, one panel per part."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed.results import Figure, Row, rows, telling
from tamis.evaluation.report.canvas import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

OURS, RIVAL = "#0072b2", "#9a9a9a"
SCORING = ("inference", "latency")
"""Parts in which all contenders pool in the same way; in the others each has its own."""
Panel = tuple[str, list[Row]]


def panels(named: dict[str, list[Figure]]) -> list[Panel]:
    """Return a title and the compared rows in measured order, for every part, variant, threads and
    settings.

    Args:
        named: figures by a description for the titles, such as the pooling; `""` for none.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    for name, figures in named.items():
        judged = [row for row in rows(figures) if row.times is not None]
        for row in judged:
            of_part = [other for other in judged if other.part == row.part]
            told = [f"{n} {row.settings[n]}" for n in telling(of_part) if n in row.settings]
            said = name if row.part in SCORING else ""
            found.setdefault(
                (row.part, row.variant, said, f"{row.threads} threads", *told), []
            ).append(row)
    return [(", ".join(filter(None, title)), compared) for title, compared in found.items()]


def drawn(panels: list[Panel]) -> Canvas:
    """Draw horizontal bars on one scale, tamis in blue, each with its value at the end."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    heights = [len(compared) + 2.3 for _, compared in panels]
    canvas = Canvas(figsize=(7.5, 0.6 + 0.2 * sum(heights)), layout="constrained")
    FigureCanvasAgg(canvas)
    axes: Any = (
        canvas.subplots(len(panels), 1, squeeze=False, height_ratios=heights, sharex=True)[:, 0]
        if panels
        else []
    )
    for axis, (title, compared) in zip(axes, panels, strict=True):
        names = [row.name([]) for row in compared]
        colours = [OURS if row.contender.startswith("tamis") else RIVAL for row in compared]
        bars = axis.barh(
            range(len(names)), [row.times for row in compared], color=colours, height=0.72
        )
        behind = {
            "facecolor": "white",
            "edgecolor": "none",
            "pad": 0.6,
        }  # otherwise the line at 1 would cross the values
        axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=8, bbox=behind)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.axvline(1.0, color="#444444", linewidth=0.8)
        axis.grid(visible=False, axis="y")
        axis.set_title(
            f"{title}\ntimes as long as {compared[-1].contender}", fontsize=9, loc="left"
        )
        axis.tick_params(axis="x", labelsize=8)
    return canvas


def fingerprint(panels: list[Panel]) -> str:
    """Return a short hash of what a plot shows; it is stored in the file to detect outdated
    plots.
    """
    told = [
        (title, [(row.name([]), f"{row.times:.2f}") for row in compared])
        for title, compared in panels
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def plot(named: dict[str, list[Figure]], path: Path, *, parts: tuple[str, ...] = ()) -> None:
    """Draw figures as a PNG file; `parts`: only these, in this order."""
    shown = (
        [panel for part in parts for panel in panels(of_part(part, named))]
        if parts
        else panels(named)
    )
    with house_style():
        drawn(shown).savefig(
            path, dpi=90, metadata={"Source": fingerprint(shown)}, pil_kwargs={"optimize": True}
        )


def of_part(part: str, named: dict[str, list[Figure]]) -> dict[str, list[Figure]]:
    """Return the figures of one part."""
    return {
        name: [figure for figure in figures if figure.part == part]
        for name, figures in named.items()
    }
