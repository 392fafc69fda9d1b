"""Training without disputed rows: they leave the training part, never the test part; there both
figures are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tamis.data.review_table import read_excluded_rows
from tamis.data.splits import DataSplit
from tamis.errors import DataError
from tamis.evaluation.metrics import figures
from tamis.evaluation.report.report import Part, ReportInputs, json_safe


def exclude_rows(split: DataSplit, file: Path) -> tuple[DataSplit, tuple[int, ...]]:
    """The parts with a training part that lacks the rows a file names, and those rows (of the whole
    table).

    Raises:
        DataError: the file does not fit the table, or a class would have no training row left.
    """
    rows = read_excluded_rows(file, split.table)
    train = split.train[~np.isin(split.train, rows)]
    left = {split.table.labels[row] for row in train.tolist()}
    missing = sorted({split.table.labels[row] for row in split.train.tolist()} - left)
    if missing:
        raise DataError(
            f"{file}: without these rows class {missing[0]!r} has no training row left; keep "
            "some of them"
        )
    kept = replace(
        split, train=train, validation=split.validation[~np.isin(split.validation, rows)]
    )
    gone = len(split.train) - len(train)
    disputed = 0 if split.test_table is not None else int(np.isin(split.test, rows).sum())
    note = (
        f"{gone:,} disputed rows are left out of training ({file}); {disputed:,} disputed test "
        "rows are judged all the same."
    )
    return replace(kept, notes=(*split.notes, note)), tuple(rows)


def figures_without_excluded(
    report: Mapping[str, Any],
    inputs: ReportInputs,
    split: DataSplit,
    rows: Sequence[int],
    *,
    seed: int,
) -> dict[str, Any]:
    """What a report says of the rows left out: how many, and the test figures with and without the
    disputed ones.

    `test` is over all test rows and the same as the report's own; `remaining` leaves the disputed
    ones out, None where there are none or no others.
    """
    disputed = (
        np.isin(split.test, rows)
        if split.test_table is None
        else np.zeros(len(split.test), dtype=bool)
    )
    judged = int(disputed.sum())
    found: dict[str, Any] = {
        "rows": len(rows) - judged,
        "test_rows": judged,
        "test": report["test"],
        "remaining": None,
    }
    if inputs.test is None or not disputed.any() or disputed.all():
        return found
    rest = Part(
        [label for label, gone in zip(inputs.test.labels, disputed, strict=True) if not gone],
        inputs.test.probabilities[~disputed],
    )
    found["remaining"] = json_safe(
        figures(
            rest.labels,
            rest.probabilities,
            inputs.classes,
            positive=inputs.positive,
            threshold=report["threshold"],
            seed=seed,
        )
    )
    return found


def excluded_sentence(found: Mapping[str, Any] | None) -> str:
    """Both figures in words; empty where no row was left out."""
    if not found:
        return ""
    if not found["remaining"]:
        others = (
            "; every test row is disputed too"
            if found["test_rows"]
            else "; no test row is disputed"
            if found["test"]
            else ""
        )
        return f"{found['rows']:,} disputed rows were left out of training{others}."
    cells = []
    for key, name, factor, unit in (
        ("f1", "F1", 1, ""),
        ("average_precision", "average precision", 1, ""),
        ("accuracy", "accuracy", 100, " %"),
    ):
        both = [found[part].get(key) for part in ("test", "remaining")]
        if None not in both:
            cells.append(
                f"{name} {factor * both[0]:.{1 if unit else 3}f} and "
                f"{factor * both[1]:.{1 if unit else 3}f}{unit}"
            )
    return (
        f"{found['rows']:,} disputed rows were left out of training. With and without the "
        f"{found['test_rows']:,} disputed test rows: "
        f"{', '.join(cells)}."
    )
