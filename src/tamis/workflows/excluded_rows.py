"""Exclude rows from training. Test rows are never removed: the report shows the metrics with and
without the listed test rows.
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
    """Remove the rows listed in a file from the training part. Returns the new split and the listed
    rows, numbered in the whole table.

    Raises:
        DataError: the file does not match the table, or a class would have no training rows.
    """
    rows = read_excluded_rows(file, split.table)
    train = split.train[~np.isin(split.train, rows)]
    left = {split.table.labels[row] for row in train.tolist()}
    missing = sorted({split.table.labels[row] for row in split.train.tolist()} - left)
    if missing:
        raise DataError(
            f"{file}: without these rows, class {missing[0]!r} has no training rows; keep some "
            "of them"
        )
    kept = replace(
        split, train=train, validation=split.validation[~np.isin(split.validation, rows)]
    )
    gone = len(split.train) - len(train)
    listed = 0 if split.test_table is not None else int(np.isin(split.test, rows).sum())
    note = (
        f"{gone:,} rows are excluded from training ({file}); {listed:,} test rows listed in the "
        "file are still evaluated."
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
    """The numbers of excluded rows, and the test metrics with and without the listed test rows.

    `test` covers all test rows, as in the report. `remaining` omits the listed test rows; it is
    None if no test row is listed, or all are.
    """
    listed = (
        np.isin(split.test, rows)
        if split.test_table is None
        else np.zeros(len(split.test), dtype=bool)
    )
    judged = int(listed.sum())
    found: dict[str, Any] = {
        "rows": len(rows) - judged,
        "test_rows": judged,
        "test": report["test"],
        "remaining": None,
    }
    if inputs.test is None or not listed.any() or listed.all():
        return found
    rest = Part(
        [label for label, gone in zip(inputs.test.labels, listed, strict=True) if not gone],
        inputs.test.probabilities[~listed],
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
    """Describe both results; empty if no rows were excluded."""
    if not found:
        return ""
    if not found["remaining"]:
        others = (
            "; all test rows are listed too"
            if found["test_rows"]
            else "; no test row is listed"
            if found["test"]
            else ""
        )
        return f"{found['rows']:,} rows were excluded from training{others}."
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
        f"{found['rows']:,} rows were excluded from training. Test metrics with and without the "
        f"{found['test_rows']:,} listed test rows: "
        f"{', '.join(cells)}."
    )
