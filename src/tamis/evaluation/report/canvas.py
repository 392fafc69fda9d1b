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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8C8C8C", "#222222"
_DPI = 150
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


def figure_with_axes(width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """Create a figure with one pair of axes; sizes in inches."""
    figure, (axes,) = figure_with_stack(width, height, heights=(1,))
    return figure, axes


def figure_with_stack(
    width: float, height: float, *, heights: tuple[float, ...]
) -> tuple[Figure, list[Axes]]:
    """Create a figure with stacked axes that share x; sizes in inches, `heights` are relative."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        len(heights), 1, height_ratios=heights, sharex=len(heights) > 1, squeeze=False
    )
    return figure, list(grid[:, 0])


def save_png(figure: Figure, path: Path) -> Path:
    """Write the figure as a PNG file atomically; the same figure gives the same bytes."""
    stream = io.BytesIO()
    # Without the Software entry, the bytes do not depend on the version of matplotlib.
    figure.savefig(
        stream, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.12
    )
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(stream.getvalue())
    os.replace(beside, path)
    return path


def log_scale(axes: Axes) -> None:
    """Make the y axis logarithmic with plain numbers as labels; matplotlib's default labels need
    math text, which the style turns off.
    """
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def percent(share: float) -> str:
    """Format a fraction as a percentage with one decimal."""
    return f"{100 * share:.1f} %"
