"""Plots of a run as PNG files: learning curves, confusion matrix, precision-recall curve,
calibration.

This module defines the content of the plots; canvas.py defines their style, calibration_plot.py has
the calibration. The numbers come from evaluation/metrics.py. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.evaluation.report.calibration_plot import calibration_curve
from tamis.evaluation.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PLOT_SIZE,
    figure_with_axes,
    house_style,
    percent,
    save_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
_SMALL_UP_TO = 4  # classes; a larger confusion matrix has a larger picture
_NUMBERS_UP_TO = 12  # classes; with more, counts in the confusion matrix are not readable


@dataclass(frozen=True)
class PlotData:
    """What the plots of one report show: N rows, K classes."""

    classes: Sequence[str]
    positive: str | None = None
    threshold: float | None = None
    labels: Sequence[str] = ()
    """N labels"""
    probabilities: NDArray[Any] | None = None
    """(N, K)"""
    baselines: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """(N, K) probabilities of the baselines on the same rows, by name"""
    before: NDArray[Any] | None = None
    """(N, K) probabilities before calibration"""
    history: Sequence[Mapping[str, Any]] = ()
    """dictionaries with step, epoch, loss, accuracy, validation_loss, validation_accuracy,
    validation_average_precision; all optional"""


def write_all(folder: str | Path, data: PlotData) -> dict[str, Path]:
    """Write all plots for which there are data to `folder` and return them by name.

    `loss` and `accuracy` need rows of the history; `confusion`, `calibration` and, with a positive
    class, `precision_recall` need labels and probabilities. Files are replaced atomically.

    Raises:
        DataError: labels and probabilities have different lengths, or a label is unknown.
    """
    from tamis.evaluation.metrics import predictions

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    classes, positive, threshold = data.classes, data.positive, data.threshold
    labels, history = data.labels, data.history
    with house_style():
        drawn: dict[str, Figure] = {}
        if _series(history, "loss")[0].size or _series(history, "validation_loss")[0].size:
            drawn["loss"] = loss_curves(history)
        if _series(history, "accuracy")[0].size or _series(history, "validation_accuracy")[0].size:
            drawn["accuracy"] = accuracy_curves(history, commonest=_commonest(labels))
        if len(labels):
            truth, scores = _truth(labels, data.probabilities, classes)
            at = (
                list(classes).index(positive)
                if positive is not None and len(classes) == 2
                else None
            )
            predicted = predictions(scores, classes, positive=positive, threshold=threshold)
            drawn["confusion"] = confusion_matrix(truth, predicted, classes)
            drawn["calibration"] = calibration_curve(truth, scores, at, data.before)
            if at is not None and 0 < (truth == at).sum() < len(truth):
                others = {
                    name: np.asarray(values)[:, at] for name, values in data.baselines.items()
                }
                cut = 0.5 if threshold is None else threshold
                drawn["precision_recall"] = precision_recall(
                    truth == at, scores[:, at], cut, others, str(positive)
                )
        return {name: save_png(figure, folder / f"{name}.png") for name, figure in drawn.items()}


def loss_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Training loss per step with its moving average, and validation loss if it was measured."""
    figure, axes = figure_with_axes()
    _training_line(axes, *_series(history, "loss"), name="train")
    _validation_line(axes, *_series(history, "validation_loss"), name="validation")
    axes.set(title="Loss", xlabel="step", ylabel="cross-entropy (nats)")
    axes.set_ylim(bottom=0)
    _epochs(axes, history)
    axes.legend()
    return figure


def accuracy_curves(
    history: Sequence[Mapping[str, Any]], *, commonest: tuple[str, float] | None = None
) -> Figure:
    """Accuracy per step, validation accuracy and average precision. `commonest` (label, share) is
    shown as a line.
    """
    figure, axes = figure_with_axes()
    _training_line(axes, *_series(history, "accuracy"), name="train")
    _validation_line(axes, *_series(history, "validation_accuracy"), name="validation")
    steps, precision = _series(history, "validation_average_precision")
    if steps.size:
        axes.plot(
            steps,
            precision,
            color=GREEN,
            linestyle=":",
            marker="^",
            label="validation, average precision",
        )
    if commonest is not None:
        axes.axhline(
            commonest[1],
            color=GREY,
            linestyle="--",
            linewidth=1.2,
            label=f"majority class ({commonest[0]!r})",
        )
    axes.set(title="Accuracy", xlabel="step", ylabel="accuracy")
    axes.set_ylim(top=1.005)
    _epochs(axes, history)
    axes.legend(loc="lower right")
    return figure


def confusion_matrix(
    truth: NDArray[Any], predicted: NDArray[Any], classes: Sequence[str]
) -> Figure:
    """Confusion matrix. Colour and percentage show the share of the row; without numbers if there
    are many classes.
    """
    k = len(classes)
    counts = np.bincount(truth * k + predicted, minlength=k * k).reshape(k, k)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.6 + 0.75 * k, PLOT_SIZE[1], 11.0))
    figure, axes = figure_with_axes() if k <= _SMALL_UP_TO else figure_with_axes(side + 0.9, side)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    small = float(np.clip(110 / k, 4.5, 10))
    names = [
        name if len(name) <= 24 else f"{name[:13]}…{name[-10:]}" for name in classes
    ]  # long names often differ at the end
    axes.set_xticks(
        range(k), names, rotation=0 if k <= 4 and max(map(len, names)) < 12 else 90, fontsize=small
    )
    axes.set_yticks(range(k), names, fontsize=small)
    axes.tick_params(length=0)
    if k <= _NUMBERS_UP_TO:
        for row in range(k):
            for column in range(k):
                text = (
                    f"{counts[row, column]:,}\n{percent(shares[row, column])}"
                    if k <= 6
                    else f"{counts[row, column]:,}"
                )
                colour = "white" if shares[row, column] > 0.55 else INK
                axes.text(
                    column,
                    row,
                    text,
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=max(small, 8),
                )
    axes.set(title="Confusion matrix", xlabel="predicted label", ylabel="true label")
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the rows of the true label")
    bar.outline.set_visible(False)
    return figure


def precision_recall(
    is_positive: NDArray[Any],
    scores: NDArray[Any],
    threshold: float,
    baselines: Mapping[str, NDArray[Any]],
    positive: str,
) -> Figure:
    """Precision-recall curves of the model and the baselines, with the chosen threshold marked; all
    scores (N,).
    """
    figure, axes = figure_with_axes()
    styles = iter([(ORANGE, "--"), (GREEN, ":"), (GREY, "-.")])
    for name, others in baselines.items():
        if np.ptp(others) == 0:
            continue  # a constant score equals the share of positives, shown below
        colour, line = next(styles, (GREY, ":"))
        _curve(axes, is_positive, others, name, color=colour, linestyle=line, linewidth=1.6)
    _curve(axes, is_positive, scores, "model", color=BLUE)
    share = float(np.mean(is_positive))
    axes.axhline(
        share,
        color=GREY,
        linestyle=(0, (1, 2)),
        linewidth=1.2,
        label=f"share of {positive!r} ({percent(share)})",
    )
    flagged = np.asarray(scores) >= threshold
    if flagged.any():
        found = int((flagged & is_positive).sum())
        recall, precision = found / int(np.sum(is_positive)), found / int(flagged.sum())
        axes.plot(
            [recall],
            [precision],
            "o",
            color=BLUE,
            markersize=10,
            markeredgecolor="white",
            markeredgewidth=1.5,
            zorder=5,
        )
        label = (
            f"threshold {threshold:.3g}\nprecision {percent(precision)}, recall {percent(recall)}"
        )
        axes.annotate(
            label,
            (recall, precision),
            xytext=(-14, -18),
            textcoords="offset points",
            ha="right" if recall > 0.45 else "left",
            va="top" if precision > 0.3 else "bottom",
            fontsize=9,
            bbox={
                "boxstyle": "round,pad=0.2",
                "facecolor": "white",
                "edgecolor": "none",
                "alpha": 0.85,
            },
            arrowprops={"arrowstyle": "-", "color": GREY},
        )
    axes.set(
        title=f"Precision-recall curve of {positive!r}",
        xlabel="recall",
        ylabel="precision",
        xlim=(0, 1.02),
        ylim=(0, 1.03),
    )
    axes.legend(loc="lower left")
    return figure


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[Floats, Floats]:
    """Steps and values of the rows that have `key`; rows without a step are numbered from 1."""
    found = [
        (row.get("step", place), row[key])
        for place, row in enumerate(history, start=1)
        if row.get(key) is not None
    ]
    values = np.array(found, dtype=np.float64).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def _training_line(axes: Axes, steps: Floats, values: Floats, *, name: str) -> None:
    if not steps.size:
        return
    window = max(1, len(values) // 20)
    if window < 3:
        axes.plot(steps, values, color=BLUE, marker="o" if len(values) < 12 else "", label=name)
        return
    axes.plot(steps, values, color=BLUE, alpha=0.25, linewidth=1, label=f"{name}, each step")
    kept = np.convolve(values, np.ones(window), mode="full")[: len(values)] / np.minimum(
        np.arange(1, len(values) + 1), window
    )
    settled = slice(window // 2, None)  # a mean over one or two steps is too noisy
    axes.plot(
        steps[settled], kept[settled], color=BLUE, label=f"{name}, moving average of {window} steps"
    )


def _validation_line(axes: Axes, steps: Floats, values: Floats, *, name: str) -> None:
    if steps.size:
        axes.plot(steps, values, color=ORANGE, linestyle="--", marker="s", markersize=5, label=name)


def _epochs(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    steps, epochs = _series(history, "epoch")
    if not any("step" in row for row in history):
        axes.set_xlabel("epoch" if len(steps) else "row of the training history")
        return
    begins = steps[1:][np.diff(np.floor(epochs)) > 0]
    if 0 < len(begins) <= 30:
        for step in begins:
            axes.axvline(step, color="#CFCFCF", linewidth=0.9, zorder=0)
        axes.set_xlabel("step (vertical lines: start of an epoch)")


def _curve(
    axes: Axes, is_positive: NDArray[Any], scores: NDArray[Any], name: str, **style: Any
) -> None:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(is_positive, scores)
    area = average_precision_score(is_positive, scores)
    axes.plot(recall, precision, drawstyle="steps-post", label=f"{name} (AP {area:.3f})", **style)


def _commonest(labels: Sequence[str]) -> tuple[str, float] | None:
    if not len(labels):
        return None
    names, counts = np.unique(np.asarray(labels, dtype=object).astype(str), return_counts=True)
    return str(names[counts.argmax()]), float(counts.max() / len(labels))


def _truth(
    labels: Sequence[str], probabilities: NDArray[Any] | None, classes: Sequence[str]
) -> tuple[NDArray[np.int64], Floats]:
    scores = np.asarray(probabilities if probabilities is not None else [], dtype=np.float64)
    index = {name: place for place, name in enumerate(classes)}
    if scores.shape != (len(labels), len(classes)) or any(label not in index for label in labels):
        raise DataError(
            f"plots: expected labels from {list(classes)} and probabilities of shape "
            f"({len(labels)}, {len(classes)}), got shape {scores.shape}"
        )
    return np.array([index[label] for label in labels], dtype=np.int64), scores
