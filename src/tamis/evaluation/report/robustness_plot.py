"""Plot of recall and false positive rate under each perturbation, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.evaluation.report.canvas import (
    BLUE,
    GREY,
    ORANGE,
    figure_with_axes,
    house_style,
    save_png,
)
from tamis.evaluation.robustness import PerturbationResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_robustness(path: Path, results: Sequence[PerturbationResult], *, positive: str) -> Path:
    """Write the plot as a PNG file."""
    with house_style():
        return save_png(robustness(results, positive=positive), path)


def robustness(results: Sequence[PerturbationResult], *, positive: str) -> Figure:
    """Recall and false positive rate in percent with 95 % intervals; the results are in order from
    top to bottom.
    """
    figure, axes = figure_with_axes(7.0, 1.6 + 0.32 * len(results))
    shown = (
        (
            "caught",
            f"recall of {positive}",
            BLUE,
            "o",
            -0.12,
            [(r.recall, r.recall_ci95) for r in results],
        ),
        (
            "blocked",
            "false positive rate",
            ORANGE,
            "s",
            0.12,
            [(r.false_positive_rate, r.false_positive_rate_ci95) for r in results],
        ),
    )
    for _, name, colour, marker, shift, shares in shown:
        found = [
            (place, share, ci)
            for place, (share, ci) in enumerate(shares)
            if share is not None and ci is not None
        ]
        if not found:
            continue
        places = [place + shift for place, _, _ in found]
        values = [100 * share for _, share, _ in found]
        around = [
            [max(0.0, 100 * (share - ci[0])) for _, share, ci in found],
            [max(0.0, 100 * (ci[1] - share)) for _, share, ci in found],
        ]
        axes.errorbar(
            values,
            places,
            xerr=around,
            fmt=marker,
            color=colour,
            markersize=5,
            elinewidth=1.2,
            label=name,
        )
    clean = next((r.recall for r in results if r.perturbation == "clean"), None)
    if clean is not None:
        axes.axvline(
            100 * clean,
            color=GREY,
            linestyle="--",
            linewidth=1.2,
            label=f"recall of {positive}, original texts",
        )
    axes.set_yticks(
        range(len(results)), [result.perturbation.replace("_", " ") for result in results]
    )
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set(title="Robustness", xlabel="share of the texts, %", xlim=(-3, 103))
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure
