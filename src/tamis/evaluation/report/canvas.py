"""The style of all plots, and writing them as PNG files; plots.py defines their content.

pyplot is not used, so there is no global state and no window system is needed. Colours: the palette
of Okabe & Ito, which is suitable for colour-blind readers; lines also differ in style.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8C8C8C", "#222222"
DPI = 150
PLOT_SIZE = (6.4, 4.8)
"""Inches; all plots have this size, so that two of them side by side have the same height."""
_STYLE = {
    "font.family": "DejaVu Sans",  # included in matplotlib, so all machines draw the same letters
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
    "text.parse_math": False,  # dollar signs in labels are plain text
}


@contextmanager
def house_style() -> Iterator[None]:
    """Use the style of tamis in a `with` block; the user's settings are restored afterwards."""
    import matplotlib

    # The type hints list all keys; matplotlib documents a plain dictionary.
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def figure_with_axes(
    width: float = PLOT_SIZE[0], height: float = PLOT_SIZE[1]
) -> tuple[Figure, Axes]:
    """Create a figure with one pair of axes; sizes in inches."""
    figure, (axes,) = figure_with_stack(width, height, heights=(1,))
    return figure, axes


def figure_with_stack(
    width: float, height: float, *, heights: tuple[float, ...]
) -> tuple[Figure, list[Axes]]:
    """Create a figure with stacked axes that share x; sizes in inches, `heights` are relative."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # The file has exactly this size: cutting the margins off would give every plot another one.
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        len(heights), 1, height_ratios=heights, sharex=len(heights) > 1, squeeze=False
    )
    return figure, list(grid[:, 0])


def save_png(figure: Figure, path: Path) -> Path:
    """Write the figure as a PNG file atomically; the same figure gives the same bytes."""
    stream = io.BytesIO()
    # Without the Software entry, the bytes do not depend on the version of matplotlib.
    figure.savefig(stream, format="png", metadata={"Software": None})
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(stream.getvalue())
    os.replace(beside, path)
    return path


def log_scale(axes: Axes) -> None:
    """Make the y axis logarithmic with plain numbers as labels, at least two of them: matplotlib's
    own labels need math text, which the style turns off. To be called when the data are drawn.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = np.log10(high / low)
    between = (1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=between, numticks=8))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.12g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def percent(share: float) -> str:
    """Format a fraction as a percentage with one decimal."""
    return f"{100 * share:.1f} %"
