"""The proof that pretraining pays: `nano` beside the same network from scratch, its own halves, TF-IDF and frozen MiniLM.

    python -m benchmarks.nano.quality --data ../shared/data --out quality.jsonl --method nano-head --method tfidf
    python -m benchmarks.nano.quality --out quality.jsonl --table

Each figure is a line of the file, so that an interrupted run goes on where it was; `--table` prints what is there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nano import methods
from benchmarks.nano.tasks import SEEDS, Task, tasks

FIGURES = {
    "sms-tp2": ("average_precision", "f1", "mcc"),
    "sms-leakfree": ("average_precision", "f1", "mcc"),
    "sms-almeida": ("average_precision", "f1", "mcc"),
    "sms-tp2-8": ("average_precision",),
    "sms-tp2-16": ("average_precision",),
    "sms-tp2-32": ("average_precision",),
    "sms-tp2-64": ("average_precision",),
    "sms-tp2-128": ("average_precision",),
    "trec6": ("accuracy",),
    "trec6-10": ("accuracy",),
    "banking77": ("accuracy",),
    "banking77-10": ("accuracy",),
    "banking77-8": ("accuracy",),
    "tweeteval-offensive": ("accuracy", "macro_f1"),
    "tweeteval-offensive-10": ("accuracy", "macro_f1"),
    "sms-to-spamassassin": ("average_precision", "mcc"),
}
"""What is shown of each task."""
FIXED_ROWS = ("sms-tp2", "sms-almeida", "trec6", "banking77", "tweeteval-offensive", "sms-to-spamassassin")
"""Tasks whose rows are the same for every seed."""
DRAWS = {"banking77-8": 10}
"""Draws of a task where they are not one a seed: MTEB's protocol has ten."""


def judged(task: Task, probabilities: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    """Accuracy, macro F1 and, where one class is the positive one, its F1, MCC and average precision, at the most likely class."""
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score, matthews_corrcoef

    classes = sorted(set(task.train_labels))
    predicted = [classes[i] for i in probabilities.argmax(1)]
    found = {
        "accuracy": accuracy_score(task.test_labels, predicted),
        "macro_f1": f1_score(task.test_labels, predicted, average="macro"),
        "mcc": matthews_corrcoef(task.test_labels, predicted),
    }
    if task.positive is not None:
        truth = np.array([label == task.positive for label in task.test_labels])
        found["f1"] = f1_score(task.test_labels, predicted, pos_label=task.positive)
        found["average_precision"] = average_precision_score(truth, probabilities[:, classes.index(task.positive)])
    return {name: float(value) for name, value in found.items()}


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def current(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of methods without a backbone in the package, and those made with the one that is there now."""
    return [row for row in rows if row.get("of") in (None, embedded_fingerprint())]


def embedded_fingerprint() -> str:
    """The start of the fingerprint of the `nano` inside the package."""
    from tamis.gpt2.backbones import load_backbone

    return load_backbone("nano").fingerprint[:12]


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over seeds, as Markdown: a line a task and figure, a column a method."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        for figure in FIGURES[row["task"]]:
            cells[row["task"], figure, row["method"]].append(row["figures"][figure])
    lines = [f"| task | figure | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for task, figures in FIGURES.items():
        for figure in figures:
            found = [_cell(cells.get((task, figure, name), [])) for name in names]
            if any(found):
                lines.append(f"| {task} | {figure.replace('_', ' ')} | {' | '.join(found)} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="results, a line a figure")
    parser.add_argument("--method", action="append", default=[], help="NAME (tfidf, minilm) or NAME=BACKBONE@TUNE for tamis")
    parser.add_argument("--teacher", type=Path, help="folder of the sentence-transformers model for minilm")
    parser.add_argument("--task", action="append", help="only these tasks")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many seeds")
    parser.add_argument("--set", action="append", default=[], help="a setting for every tamis method, e.g. train.epochs=8")
    parser.add_argument("--store", type=Path, help="folder that keeps frozen states")
    parser.add_argument("--table", action="store_true", help="print the table")
    options = parser.parse_args()
    if options.table:
        print(table(current(read(options.out))))
        return
    from tamis.setting_text import parse_setting

    settings = dict(parse_setting(text) for text in options.set)
    known = tasks(options.data)
    done = {(row["method"], row["task"], row["seed"], row.get("of")) for row in read(options.out)}
    for text in options.method:
        name, _, what = text.partition("=")
        backbone, _, tune = what.rpartition("@")
        method: methods.Method
        of = embedded_fingerprint() if backbone == "nano" else None
        if what:
            method = methods.tamis(backbone, tune, settings, options.store)
        else:
            method = methods.tfidf if name == "tfidf" else methods.minilm(options.teacher)
        for task_name, make in known.items():
            if options.task and task_name not in options.task:
                continue
            # The same rows and no chance in the fit: one seed says all.
            fixed = task_name in FIXED_ROWS and not tune.startswith(("full", "blocks"))
            for seed in range(1 if fixed else DRAWS.get(task_name, options.seeds)):
                if (name, task_name, seed, of) in done:
                    continue
                task = make(seed)
                begun = time.perf_counter()
                figures = judged(task, method(task))
                seconds = round(time.perf_counter() - begun, 1)
                row = {"method": name, "task": task_name, "seed": seed, "seconds": seconds, "figures": figures} | ({"of": of} if of else {})
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                shown = ", ".join(f"{figure} {figures[figure]:.3f}" for figure in FIGURES[task_name])
                print(f"{name} {task_name} {seed}: {shown} ({seconds} s)", flush=True)


if __name__ == "__main__":
    main()
