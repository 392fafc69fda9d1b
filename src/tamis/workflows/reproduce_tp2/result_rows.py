"""Questions 9 and 10: the training, and the result compared with the report."""

from __future__ import annotations

from typing import Any

import numpy as np

from tamis.config import Recipe
from tamis.workflows.reproduce_tp2 import reported
from tamis.workflows.reproduce_tp2.data_rows import DataFacts
from tamis.workflows.reproduce_tp2.table_rows import Table
from tamis.workflows.reproduce_tp2.wording import figures_line, percent, with_interval


def tenths(steps: list[dict[str, float]], key: str) -> tuple[float, float]:
    """Mean over the rows of the first and of the last tenth of the steps; a batch of one row counts
    as one row.
    """
    tenth = max(1, len(steps) // 10)
    parts = (steps[:tenth], steps[-tenth:])
    first, last = (
        float(np.average([s[key] for s in part], weights=[s["rows"] for s in part]))
        for part in parts
    )
    return first, last


def training_rows(table: Table, trained: dict[str, Any], recipe: Recipe) -> None:
    """Add the rows of question 9."""
    train, steps, points = recipe.train, trained["steps"], trained["points"]
    table.add(
        "9",
        "optimizer (assumed)",
        f"AdamW, learning rate {train.learning_rate:g}, weight decay {train.weight_decay:g}",
    )
    weights = ", ".join(f"{name} {w:.3f}" for name, w in trained["class_weights"].items())
    rule = "n / (K * n_class)" if train.class_weight == "balanced" else str(train.class_weight)
    table.add("9", "class weights (assumed)", f"{rule}: {weights}")
    table.add("9", "epochs", train.epochs, 1)
    table.add("9", "steps", len(steps), 279)
    first, last = tenths(steps, "loss")
    table.add("9", "loss, mean of the first and of the last tenth", f"{first:.3f} and {last:.3f}")
    low, high = np.percentile([step["loss"] for step in steps], [5, 95])
    table.add(
        "9",
        "loss, 5th and 95th percentile of the steps",
        f"{low:.2f} and {high:.2f}",
        "about 0.5 and 0.9",
        compare=False,
    )
    first, last = tenths(steps, "accuracy")
    table.add("9", "batch accuracy, first and last tenth", f"{first:.3f} and {last:.3f}")
    table.add(
        "9",
        "loss on all training rows, before and after",
        f"{points[0]['loss']:.3f} and {points[-1]['loss']:.3f}",
    )
    table.add(
        "9",
        "curves",
        "loss, accuracy and recall, evaluated on all rows at "
        f"{len(points)} steps, not on single batches",
        "three figures",
        compare=False,
    )


def result_rows(table: Table, trained: dict[str, Any], facts: DataFacts) -> None:
    """Add the rows of question 10. Accuracy and recall are compared within the precision with which
    the report gives them.
    """
    train, test = trained["train"], trained["test"]
    for name, found in (("train", train), ("test", test)):
        table.judge(
            "10",
            f"{name} accuracy",
            with_interval(found, "accuracy"),
            "about 86 %",
            _near(found["accuracy"], reported.ACCURACY, reported.ACCURACY_TOLERANCE),
        )
    table.judge(
        "10",
        f"test accuracy on {facts.sought} (recall)",
        with_interval(test, "recall"),
        "0 %",
        same_recall(trained),
    )
    table.add(
        "10",
        f"{facts.sought} found",
        f"{trained['found']} of {trained['asked']} test rows",
        "none",
        compare=False,
    )
    table.add(
        "10",
        f"test accuracy of always {facts.majority}, and its recall",
        f"{percent(facts.majority_accuracy)} and 0.0 %",
    )
    table.add("10", "test figures", figures_line(test))
    table.add(
        "10",
        "improvements",
        "each alone in the rows of the remedies; a GPU changes only the time",
        "more epochs, undersampling, a GPU",
        compare=False,
    )


def same_recall(trained: dict[str, Any]) -> bool | None:
    """Whether the recall would be printed as 0 %, as the report has it; None if it is undefined."""
    return _near(trained["test"]["recall"], reported.RECALL, reported.RECALL_TOLERANCE)


def _near(value: float | None, given: float, tolerance: float) -> bool | None:
    return None if value is None else round(abs(value - given), 9) <= tolerance
