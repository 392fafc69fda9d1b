"""The look of every plot and the way it becomes a PNG file; what is drawn is decided in plots.py.

No pyplot, so no state that outlives a figure and no window system is ever asked for.
Colours: Okabe & Ito's set, told apart by colour-blind readers; each line also differs in style.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8C8C8C", "#222222"
_DPI = 150
_STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine draws the same letters
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "text.parse_math": False,  # labels are text, also with two dollar signs
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in one style within this block, whatever the user has set; the settings come back
    afterwards.
    """
    import matplotlib

    # matplotlib types the keys one by one; a plain dict of names is what it documents.
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def figure_with_axes(width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; sizes in inches."""
    figure, (axes,) = figure_with_stack(width, height, heights=(1,))
    return figure, axes


def figure_with_stack(
    width: float, height: float, *, heights: tuple[float, ...]
) -> tuple[Figure, list[Axes]]:
    """A figure with axes above each other that share x; sizes in inches, `heights` are relative."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        len(heights), 1, height_ratios=heights, sharex=len(heights) > 1, squeeze=False
    )
    return figure, list(grid[:, 0])


def save_png(figure: Figure, path: Path) -> Path:
    """Write the figure as a PNG beside `path` and rename; the same figure gives the same bytes."""
    stream = io.BytesIO()
    # No Software entry: the bytes depend on what is drawn alone.
    figure.savefig(
        stream, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.12
    )
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(stream.getvalue())
    os.replace(beside, path)
    return path


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"
