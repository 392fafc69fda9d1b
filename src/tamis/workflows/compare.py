"""Compare runs on the test rows that all of them judged.

Rows are matched by text; the rows of a text that occurs several times are matched in order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tamis.classifier.model_folder import find_model
from tamis.classifier.training_features import PREDICTIONS, weights_mark
from tamis.errors import RunError, TamisError
from tamis.evaluation.bootstrap import Rows
from tamis.evaluation.model_comparison import Comparison, compare, holm
from tamis.evaluation.report.report import json_safe
from tamis.feedback.in_effect import EVERYBODY, counted
from tamis.feedback.loading import BY_DEFAULT, store_of
from tamis.feedback.store import model_name
from tamis.feedback.stored_head import ModelKey, read_learning

FEWEST_ROWS = 2
"""Common rows below which there is nothing to compare."""
Key = tuple[str, int]
"""A text, and which of its rows it is."""


@dataclass(frozen=True)
class JudgedRows:
    """The test rows of a run."""

    run: Path
    classes: tuple[str, ...]
    positive: str | None
    rows: dict[Key, dict[str, Any]] = field(repr=False)
    """lines of predictions.jsonl"""


@dataclass(frozen=True)
class RunComparison:
    """Runs compared with the first one, on their common test rows."""

    runs: tuple[JudgedRows, ...]
    rows: int
    comparisons: tuple[Comparison, ...]
    """of each further run with the first one"""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        adjusted = holm([one.p_value for one in self.comparisons])
        first = self.runs[0]
        pairs = zip(self.runs[1:], self.comparisons, adjusted, strict=True)
        plain: dict[str, Any] = json_safe(
            {
                "runs": [str(one.run) for one in self.runs],
                "rows": self.rows,
                "test_rows": {str(one.run): len(one.rows) for one in self.runs},
                "classes": list(first.classes),
                "positive": first.positive,
                "comparisons": [
                    {"first": str(first.run), "second": str(run.run), **found.to_dict()}
                    | {"p_value_holm": p_value}
                    for run, found, p_value in pairs
                ],
                "notes": list(self.notes),
            }
        )
        return plain


def compare_runs(paths: Sequence[Path | str], *, seed: int = 42) -> RunComparison:
    """Compare runs with the first one, each at its own threshold.

    Args:
        paths: two or more finished run folders.
        seed: of the bootstrap.

    Raises:
        RunError: a folder is no finished run, or has no test rows; or the runs have other labels,
            another positive class, no test row in common, or different labels for a common row.
    """
    if len(paths) < 2:
        raise RunError(f"expected at least two runs to compare, got {len(paths)}; name two or more")
    runs = [judged_rows(path) for path in paths]
    first = runs[0]
    for other in runs[1:]:
        _check_same_task(first, other)
    common = [key for key in first.rows if all(key in other.rows for other in runs[1:])]
    sizes = ", ".join(f"{one.run} has {len(one.rows):,}" for one in runs)
    if len(common) < FEWEST_ROWS:
        raise RunError(
            f"the runs have {len(common)} test rows in common ({sizes}); compare runs with the "
            "same test rows: the same data, --split and --seed, or the same --test"
        )
    _check_same_labels(runs, common)
    notes = [note for one in runs for note in _corrections_note(one.run)]
    if any(len(one.rows) != len(common) for one in runs):
        notes.append(
            f"The runs have different test rows ({sizes}). They are compared on the "
            f"{len(common):,} rows that all of them judged. A row that one run tests may be a "
            "training row of another one, which makes that one look too good."
        )
    table = [_rows(one, common, first) for one in runs]
    compared = tuple(compare(table[0], other, seed=seed) for other in table[1:])
    return RunComparison(tuple(runs), len(common), compared, tuple(notes))


def _corrections_note(run: Path) -> list[str]:
    """Return a note if a run has learned corrections since its test rows were evaluated."""
    try:
        path = store_of(run, BY_DEFAULT)
        if path is None:
            return []
        key = ModelKey(model_name(run), weights_mark(find_model(run)), "fp32")
        learned = len(read_learning(path, key).used_by(EVERYBODY))
    except TamisError as error:  # the comparison does not need the store
        return [f"Whether {run} has learned corrections is unknown: {error}."]
    return [
        f"{run} is compared as trained: its test rows were evaluated before it learned "
        f"{counted(learned)}; tamis evaluate RUN DATA evaluates it with them."
    ] * bool(learned)


def judged_rows(path: Path | str) -> JudgedRows:
    """Read the test rows of a finished run.

    Raises:
        RunError: the folder is no finished run, or its test part is empty.
    """
    run = Path(path)
    if not (run / "report.json").is_file() or not (run / PREDICTIONS).is_file():
        what = (
            "does not exist"
            if not run.exists()
            else f"exists but is no finished run: it has no report.json and {PREDICTIONS}"
        )
        raise RunError(
            f"{run} {what}; expected the folder of a finished run (train one with: tamis train "
            f"DATA -o {run})"
        )
    try:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        classes, positive = tuple(report["classes"]), report["positive"]
        rows: dict[Key, dict[str, Any]] = {}
        seen: dict[str, int] = {}
        with (run / PREDICTIONS).open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if row["part"] == "test":
                    _check_row(row, classes)
                    number = seen[row["text"]] = seen.get(row["text"], 0) + 1
                    rows[row["text"], number] = row
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{run}: report.json and {PREDICTIONS} cannot be used ({type(error).__name__}: "
            f"{error}); train the run again"
        ) from error
    if not rows:
        raise RunError(
            f"{run} has no test rows (split {report.get('split')!r}); train it with another "
            "--split, or with --test FILE"
        )
    return JudgedRows(run, classes, positive, rows)


def _check_row(row: dict[str, Any], classes: Sequence[str]) -> None:
    """Raise KeyError or ValueError for a line that lacks something."""
    for name in (row["label"], row["predicted"]):
        if name not in classes:
            raise ValueError(f"the label {name!r} is not one of {', '.join(classes[:10])}")
    sum(float(row["probabilities"][name]) for name in classes)


def _check_same_task(first: JudgedRows, other: JudgedRows) -> None:
    if sorted(first.classes) != sorted(other.classes):
        raise RunError(
            f"{first.run} has the labels {', '.join(first.classes[:10])} and {other.run} has "
            f"{', '.join(other.classes[:10])}; compare runs of the same task"
        )
    if first.positive != other.positive:
        raise RunError(
            f"the positive class of {first.run} is {first.positive!r}, that of {other.run} is "
            f"{other.positive!r}; train one of them again with --positive"
        )


def _check_same_labels(runs: Sequence[JudgedRows], common: Sequence[Key]) -> None:
    for other in runs[1:]:
        wrong = [key for key in common if runs[0].rows[key]["label"] != other.rows[key]["label"]]
        if wrong:
            text, first = wrong[0][0], runs[0].rows[wrong[0]]["label"]
            raise RunError(
                f"{runs[0].run} and {other.run} have different labels for {len(wrong):,} of "
                f"{len(common):,} common test rows, such as {text!r:.60}: {first!r} and "
                f"{other.rows[wrong[0]]['label']!r}; train both with the same labels"
            )


def _rows(run: JudgedRows, common: Sequence[Key], first: JudgedRows) -> Rows:
    """The common rows of a run, with the classes in the order of the first run."""
    place = {name: number for number, name in enumerate(first.classes)}
    rows = [run.rows[key] for key in common]
    probabilities = [[row["probabilities"][name] for name in first.classes] for row in rows]
    binary = first.positive is not None and len(first.classes) == 2
    return Rows(
        np.array([place[row["label"]] for row in rows], dtype=np.int64),
        np.array([place[row["predicted"]] for row in rows], dtype=np.int64),
        np.array(probabilities, dtype=np.float64),
        place[str(first.positive)] if binary else None,
    )
