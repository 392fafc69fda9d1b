"""The plots of report.html: their order, captions, and places in a grid of two columns without
holes.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tamis.evaluation.report.canvas import DPI, PLOT_SIZE

# (caption, how to read it)
_PLOTS = {
    "precision_recall": (
        "Precision-recall curve",
        "Each point is a threshold: recall is the share of the positive rows that are caught, "
        "precision the share of the caught rows that are positive. Nearer to the top right corner "
        "is better.",
    ),
    "confusion": (
        "Confusion matrix",
        "Rows are true labels, columns predictions. The correct rows are on the diagonal.",
    ),
    "calibration": (
        "Calibration: predicted probability and observed frequency",
        "On the dashed line, probabilities are frequencies: of the messages with probability 0.8, "
        "80 % have the label. Bars are 95 % intervals.",
    ),
    "loss": (
        "Loss by training step",
        "A validation loss that rises while the training loss falls is a sign of overfitting.",
    ),
    "accuracy": (
        "Accuracy by training step",
        "The dashed line is reached by always answering the most frequent class; a useful model "
        "is above it. Steps count batches, so the training line varies from step to step.",
    ),
    "robustness": (
        "Robustness: results under each perturbation at the model's threshold, with 95 % intervals",
        "",
    ),
}
_WIDE = {"robustness"}


@dataclass(frozen=True)
class PagePlot:
    """A plot in the grid: `layout` is empty, `wide` (both columns) or `beside` (both columns, the
    caption beside the picture: the last of an odd number).
    """

    caption: str
    reading: str
    data: str
    """PNG, base64"""
    width: int
    height: int
    """pixels of the page"""
    layout: str


def page_plots(plots: Mapping[str, Path]) -> list[PagePlot]:
    """Return the plots in the order of the page: those of one column first, then the wide ones."""
    names = [name for name in _PLOTS if name in plots]
    names += [name for name in plots if name not in _PLOTS]
    found = []
    for name in names:
        content = Path(plots[name]).read_bytes()
        width, height = png_size(content)
        caption, reading = _PLOTS.get(name, (name, ""))
        regular = name in _PLOTS and name not in _WIDE and _is_regular(width, height)
        data = base64.b64encode(content).decode("ascii")
        size = (width * 96 // DPI, height * 96 // DPI)
        found.append(PagePlot(caption, reading, data, *size, "" if regular else "wide"))
    narrow = [plot for plot in found if not plot.layout]
    if len(narrow) % 2:
        last = narrow.pop()
        narrow.append(
            PagePlot(last.caption, last.reading, last.data, last.width, last.height, "beside")
        )
    return [*narrow, *(plot for plot in found if plot.layout)]


def png_size(content: bytes) -> tuple[int, int]:
    """Return width and height in pixels, from the header of a PNG file."""
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def _is_regular(width: int, height: int) -> bool:
    """Whether a plot has about the shape of the others, so that rows of the grid have no gaps."""
    return abs(width / height - PLOT_SIZE[0] / PLOT_SIZE[1]) < 0.1
