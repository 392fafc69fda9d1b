"""Write README's table and docs/overview.png from the result files. A test holds them together.

    PYTHONPATH=src:. python docs/make_readme.py

Sources: benchmarks/quality/results.jsonl, benchmarks/robustness/results.jsonl and the results of
benchmarks/speed that docs/speed.md shows. A dash stands for a figure that was not measured.
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.quality.table import current, read
from benchmarks.speed.page import published
from benchmarks.speed.results import rows as speed_rows
from tamis.training.defaults import few_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
README, PICTURE = ROOT / "README.md", ROOT / "docs" / "overview.png"
QUALITY = ROOT / "benchmarks" / "quality" / "results.jsonl"
ROBUSTNESS = ROOT / "benchmarks" / "robustness" / "results.jsonl"

TAMIS, FULL, HEAD = "tamis", "nano-full", "nano-head"
"""The column of the default settings, and what they are by number of labels. The cost in this
column is that of the head: every table has it."""
METHODS = {TAMIS: "tamis", "tfidf": "TF-IDF", "minilm": "MiniLM, frozen", "setfit": "SetFit"}
"""Methods of benchmarks/quality that are shown, and what the columns call them."""
TASKS = (
    ("sms-tp2-8", "average_precision", "SMS spam, 8 labels per class: average precision"),
    ("sms-tp2-32", "average_precision", "SMS spam, 32 labels per class: average precision"),
    ("sms-tp2-128", "average_precision", "SMS spam, 128 labels per class: average precision"),
    ("trec6-10", "accuracy", "TREC-6, 10 labels per class: accuracy"),
    ("banking77-10", "accuracy", "Banking77, 10 labels per class: accuracy"),
    ("sms-tp2", "f1", "SMS spam, all 4,457 labels: F1"),
    ("trec6", "accuracy", "TREC-6, all labels: accuracy"),
    ("banking77", "accuracy", "Banking77, all labels: accuracy"),
)
COST_TASK = "sms-leakfree"
LABELS = (8, 16, 32, 64, 128)
DASH = "–"  # noqa: RUF001
SPEED = (
    ("mean pooling later", "job", "reference loop", "TP2 experiment: the reference's loop"),
    ("mean pooling", "blocks", "Trainer, padded", "train 2 blocks: Trainer"),
    ("mean pooling", "full", "Trainer, padded", "train everything: Trainer"),
    ("mean pooling", "inference", "transformers", "score many texts: transformers"),
    ("mean pooling", "inference", "ONNX Runtime fp32", "score many texts: ONNX Runtime"),
    ("mean pooling later", "latency", "ONNX Runtime fp32", "score one text: ONNX Runtime"),
    ("mean pooling", "inference", "TF-IDF", "score many texts: TF-IDF"),
)
"""File of results, part, start of the contender's name, and what the picture calls it."""


CLASSES = {"trec6": 6, "banking77": 77}
"""Number of classes of the tasks that have more than two."""


def values(rows: list[dict[str, Any]], task: str, method: str, figure: str) -> list[float]:
    """A figure of a task by a method: one value a seed."""
    method = default_method(task) if method == TAMIS else method
    of_task = [row["figures"] for row in rows if (row["task"], row["method"]) == (task, method)]
    return [found[figure] for found in of_task if figure in found]


def default_method(task: str) -> str:
    """What the default settings train on a task; the number behind its name is that of the labels
    per class.
    """
    labels = re.search(r"-(\d+)$", task)
    classes = next((count for name, count in CLASSES.items() if task.startswith(name)), 2)
    return HEAD if labels and int(labels[1]) <= few_labels(classes) else FULL


def quality_line(rows: list[dict[str, Any]], task: str, figure: str, name: str) -> str:
    """A line of the table, the best mean in bold."""
    found = [values(rows, task, method, figure) for method in METHODS]
    best = max(f"{statistics.mean(each):.3f}" for each in found if each)
    cells = []
    for each in found:
        mean = f"{statistics.mean(each):.3f}" if each else DASH
        spread = f" ± {statistics.stdev(each):.3f}" if len(each) > 1 else ""
        cells.append(f"**{mean}**{spread}" if mean == best else f"{mean}{spread}")
    return f"| {name} | {' | '.join(cells)} |"


def cost_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Seconds of a training and messages a second, for the method that solves the head alone."""
    lines = []
    for key, name in (
        ("fit_s", "Training with `--tune head` on 80 % of SMS spam: seconds, one CPU thread"),
        ("messages_per_s", "Scoring with this model: messages per second, one CPU thread"),
    ):
        cells = []
        for method in METHODS:
            of_method = HEAD if method == TAMIS else method
            found = [
                row[key]
                for row in rows
                if (row["task"], row["method"]) == (COST_TASK, of_method) and key in row
            ]
            median = statistics.median(found) if found else None
            cells.append(
                DASH if median is None else f"{median:,.0f}" if median >= 10 else f"{median:.1f}"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def robustness() -> dict[str, list[dict[str, Any]]]:
    """The lines of each model under perturbations, `plain` and `hardened`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in read(ROBUSTNESS):
        if line["hand"]:
            found.setdefault(line["model"], []).append(line)
    return found


def robustness_lines() -> list[str]:
    """The lowest recall of each model over all perturbations it was tried with."""
    found = robustness()
    lines = []
    for model, said in (("hardened", "with `--robust`"), ("plain", "default settings")):
        least = min(line["recall"] for line in found[model])
        dashes = f" | {DASH}" * (len(METHODS) - 1)
        name = f"Disguised spam, worst of {len(found[model])} perturbations, {said}: recall"
        lines.append(f"| {name} | {100 * least:.1f} %{dashes} |")
    return lines


def speeds() -> list[tuple[str, float]]:
    """What is compared, and how many times as long as tamis it takes with GPT-2 124M in fp32."""
    found = []
    for name, part, contender, said in SPEED:
        row = next(
            row
            for row in speed_rows(published()[name])
            if row.part == part and row.contender.startswith(contender) and row.variant != "p99"
        )
        assert row.times is not None
        found.append((said, row.times))
    return found


def table() -> str:
    """The section of README."""
    rows = current(read(QUALITY))
    return "\n".join(
        [
            f"| | {' | '.join(METHODS.values())} |",
            f"|---|{'---|' * len(METHODS)}",
            *(quality_line(rows, *task) for task in TASKS),
            *robustness_lines(),
            *cost_lines(rows),
        ]
    )


def page() -> str:
    """README with the table in its place."""
    text = README.read_text(encoding="utf-8")
    return re.sub(
        r"(<!-- figures -->\n).*(<!-- /figures -->)",
        lambda m: f"{m[1]}{table()}\n{m[2]}",
        text,
        flags=re.DOTALL,
    )


def curves() -> dict[str, list[tuple[int, list[float]]]]:
    """Average precision on SMS spam of each method: labels per class, and a value per seed."""
    rows = current(read(QUALITY))
    return {
        name: [
            (labels, found)
            for labels in LABELS
            if (found := values(rows, f"sms-tp2-{labels}", method, "average_precision"))
        ]
        for method, name in METHODS.items()
    }


def shown() -> dict[str, Any]:
    """Everything that the picture shows."""
    under = {
        model: {
            line["perturbation"].replace("_", " "): line["recall"]
            for line in lines
            if line["hand"] == "suite"
        }
        for model, lines in robustness().items()
    }
    return {"curves": curves(), "robustness": under, "speed": speeds()}


def fingerprint() -> str:
    """Hash of what the picture shows. It lies in the PNG, so that a test finds an old picture."""
    return hashlib.sha256(json.dumps(shown()).encode()).hexdigest()[:16]


def draw() -> Figure:
    """Three panels: few labels, robustness, speed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from tamis.evaluation.report.canvas import house_style

    found = shown()
    with house_style():
        figure = Figure(figsize=(13, 4.3), layout="constrained")
        FigureCanvasAgg(figure)
        first, second, third = figure.subplots(1, 3, width_ratios=(1, 1, 1))
        draw_few_labels(first, found["curves"])
        _draw_robustness(second, found["robustness"])
        _draw_speed(third, found["speed"])
    return figure


def draw_few_labels(axes: Axes, found: dict[str, list[tuple[int, list[float]]]]) -> None:
    """A line per method with the spread over its seeds."""
    from tamis.evaluation.report.canvas import BLUE, GREEN, GREY, ORANGE

    styles = zip(found.items(), (BLUE, ORANGE, GREEN, GREY), "osD^", strict=True)
    for (name, points), colour, marker in styles:
        if points:
            means = [statistics.mean(each) for _, each in points]
            spread = [statistics.stdev(each) if len(each) > 1 else 0.0 for _, each in points]
            places = [labels for labels, _ in points]
            axes.errorbar(
                places, means, yerr=spread, color=colour, marker=marker, capsize=3, label=name
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(LABELS, [str(labels) for labels in LABELS])
    axes.set(title="Few labels (SMS spam)", xlabel="labels per class", ylabel="average precision")
    axes.legend(loc="lower right")


def _draw_robustness(axes: Axes, under: dict[str, dict[str, float]]) -> None:
    from tamis.evaluation.report.canvas import BLUE, ORANGE

    names = [name for name in under["plain"] if name in under["hardened"]]
    places = range(len(names))
    for model, said, colour, marker in (
        ("plain", "default", ORANGE, "s"),
        ("hardened", "--robust", BLUE, "o"),
    ):
        recalls = [100 * under[model][name] for name in names]
        axes.plot(recalls, places, marker, color=colour, markersize=6, label=f"tamis, {said}")
    axes.set_yticks(places, names, fontsize=9)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set(title="Disguised spam", xlabel="recall, %", xlim=(-3, 103))
    axes.legend(loc="center left", bbox_to_anchor=(0.05, 0.5))


def _draw_speed(axes: Axes, found: list[tuple[str, float]]) -> None:
    from tamis.evaluation.report.canvas import GREY, INK

    bars = axes.barh(
        range(len(found)), [times for _, times in found], color=GREY, height=0.65, left=0
    )
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    # Without the white box the line at 1 would cross the figures.
    axes.bar_label(bars, [f"{times:.2g}" for _, times in found], padding=3, fontsize=9, bbox=behind)
    axes.axvline(1.0, color=INK, linewidth=1)
    axes.set_yticks(range(len(found)), [name.replace(": ", ":\n") for name, _ in found], fontsize=9)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set(title="Time (GPT-2 124M, CPU)", xlabel="times as long as tamis (1: equal)")
    axes.set_xlim(0, 13)


if __name__ == "__main__":
    README.write_text(page(), encoding="utf-8")
    about = {"Source": fingerprint()}
    draw().savefig(PICTURE, dpi=100, metadata=about, pil_kwargs={"optimize": True})
