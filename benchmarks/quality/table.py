"""Figures of predictions, and tables of them; a results file has a JSON line per task, method and
seed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.tasks import Task

_SPAM = ("average_precision", "f1", "mcc")
_CLASSES = ("accuracy", "macro_f1", "labels_macro_f1")
FIGURES = {
    "sms-tp2": _SPAM,
    "sms-leakfree": _SPAM,
    "sms-almeida": _SPAM,
    "sms-tp2-8": _SPAM[:1],
    "sms-tp2-16": _SPAM[:1],
    "sms-tp2-32": _SPAM[:1],
    "sms-tp2-64": _SPAM[:1],
    "sms-tp2-128": _SPAM[:1],
    "trec6": _CLASSES[:1],
    "trec6-10": _CLASSES[:1],
    "banking77": _CLASSES[:1],
    "banking77-10": _CLASSES[:1],
    "banking77-8": _CLASSES[:1],
    "tweeteval-offensive": _CLASSES,
    "tweeteval-offensive-10": _CLASSES,
    "tweeteval-irony": _CLASSES,
    "tweeteval-irony-10": _CLASSES,
    "rotten-tomatoes": _CLASSES[:1],
    "spamassassin": _SPAM,
    "sms-to-spamassassin": ("average_precision", "mcc"),
}
"""The figures that are shown for each task."""
NAMES = {"labels_macro_f1": "macro f1, own threshold"}


def judged(
    task: Task, probabilities: NDArray[np.float64], labels: list[str] | None = None
) -> dict[str, float]:
    """Return accuracy, macro F1 and, with a positive class, its F1, MCC and average precision, all
    for the most probable class.

    If a method gives `labels` by its own threshold, their macro F1 is added.
    """
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score, matthews_corrcoef

    classes = sorted(set(task.train_labels))
    predicted = [classes[i] for i in probabilities.argmax(1)]
    found = {
        "accuracy": accuracy_score(task.test_labels, predicted),
        "macro_f1": f1_score(task.test_labels, predicted, average="macro"),
        "mcc": matthews_corrcoef(task.test_labels, predicted),
    }
    if labels is not None:
        found["labels_macro_f1"] = f1_score(task.test_labels, labels, average="macro")
    if task.positive is not None:
        truth = np.array([label == task.positive for label in task.test_labels])
        found["f1"] = f1_score(task.test_labels, predicted, pos_label=task.positive)
        found["average_precision"] = average_precision_score(
            truth, probabilities[:, classes.index(task.positive)]
        )
    return {name: float(value) for name, value in found.items()}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a results file."""
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.is_file()
        else []
    )


def current(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of methods without an embedded backbone, and those of the current embedded
    backbone.
    """
    return [row for row in rows if row.get("of") in (None, embedded_fingerprint())]


@cache
def embedded_fingerprint() -> str:
    """Return the start of the fingerprint of the embedded `nano`."""
    from tamis.gpt2.backbones import load_backbone

    return load_backbone("nano").fingerprint[:12]


def table(rows: list[dict[str, Any]], tasks: Iterable[str] = FIGURES) -> str:
    """Return a Markdown table of mean and standard deviation over seeds: a row per task and figure,
    a column per method.
    """
    names = list(dict.fromkeys(row["method"] for row in rows))
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        for figure in FIGURES[row["task"]]:
            if figure in row["figures"]:
                cells[row["task"], figure, row["method"]].append(row["figures"][figure])
    lines = [f"| task | figure | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for task in tasks:
        for figure in FIGURES[task]:
            found = [_mean_and_deviation(cells.get((task, figure, name), [])) for name in names]
            if any(found):
                lines.append(
                    f"| {task} | {NAMES.get(figure, figure.replace('_', ' '))} | "
                    f"{' | '.join(found)} |"
                )
    return "\n".join(lines)


def costs(rows: list[dict[str, Any]], tasks: Iterable[str] = FIGURES) -> str:
    """Return median seconds of the fit and messages per second on the test rows, in the same
    columns.

    The majority is left out, because it reads no text.
    """
    rows = [row for row in rows if row["method"] != "majority"]
    names = list(dict.fromkeys(row["method"] for row in rows if "fit_s" in row))
    cells: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if "fit_s" in row:  # the oldest lines have no costs
            cells[row["task"], row["method"]].append((row["fit_s"], row["messages_per_s"]))
    lines = [f"| task | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for task in tasks:
        found = [_cost(cells.get((task, name), [])) for name in names]
        if any(found):
            lines.append(f"| {task} | {' | '.join(found)} |")
    return "\n".join(lines)


def _mean_and_deviation(values: list[float]) -> str:
    if not values:
        return ""
    return f"{np.mean(values):.3f}" + (
        f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    )


def _cost(values: list[tuple[float, float]]) -> str:
    if not values:
        return ""
    fit_s, speed = np.median(np.array(values), axis=0)
    return f"{fit_s:.{0 if fit_s >= 10 else 1}f} s, {speed:,.0f}/s"
