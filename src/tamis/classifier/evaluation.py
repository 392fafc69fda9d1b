"""Evaluate a fitted classifier on labelled rows: the report that `tamis evaluate` writes.

Shapes: N rows, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.inputs import as_column
from tamis.classifier.out_of_distribution import OODDetector
from tamis.classifier.predictor import Predictor
from tamis.compute.versions import versions
from tamis.config import Recipe
from tamis.data.splits import positive_label
from tamis.decision.verdict import DecisionRule
from tamis.errors import DataError
from tamis.evaluation.baselines import fit_baselines
from tamis.evaluation.report.evaluation_report import EvaluationReport
from tamis.evaluation.report.report import Part, ReportInputs, build_report
from tamis.progress import Progress


class EvaluatedClassifier(Protocol):
    """A fitted classifier of K classes; `TextClassifier` is one."""

    classes_: NDArray[Any]
    positive_: str | None
    rule_: DecisionRule
    recipe_: Recipe
    temperature_: float
    predictor_: Predictor

    @property
    def ood_detector_(self) -> OODDetector:
        """Detector of out-of-distribution texts."""
        ...


@dataclass(frozen=True)
class EvaluatedRows:
    """N labelled rows, and what the report says about them."""

    texts: Sequence[str]
    labels: Sequence[str]
    """N labels, as text"""
    data: str = ""
    """name of the data"""
    split: str = "all rows"
    positive: str | None = None
    """another positive class than the classifier's; the threshold is 0.5 then"""
    train: tuple[Sequence[str], Sequence[str]] | None = None
    """texts and labels of the training rows, on which the baselines are fitted"""


def evaluate_rows(
    classifier: EvaluatedClassifier, rows: EvaluatedRows, *, progress: Progress | None = None
) -> EvaluationReport:
    """Return the report of a classifier on labelled rows, at its stored threshold.

    Args:
        classifier: a fitted classifier.
        rows: N labelled rows. With training rows the report has baselines, and a note if evaluated
            texts are among them.
        progress: receives progress updates.

    Raises:
        DataError: the lengths differ, there are no rows, or a label is unknown.
    """
    classifier.rule_.require_one_label("an evaluation")
    texts, labels, names = rows.texts, rows.labels, [str(c) for c in classifier.classes_]
    check_labels(texts, labels, names)
    rarer = positive_label(labels) if len(names) == 2 else None
    positive = rows.positive or classifier.positive_ or rarer
    started = time.perf_counter()
    probabilities = classifier.predictor_.probabilities(texts, progress=progress)
    seconds = time.perf_counter() - started
    timing: dict[str, Any] = {"test": seconds, "messages_per_s": len(texts) / seconds}
    inputs = ReportInputs(
        classes=names,
        positive=positive,
        split=rows.split,
        backbone=classifier.recipe_.backbone,
        tune=classifier.recipe_.tune,
        data=rows.data,
        rows={"test": len(texts)},
        test=Part(labels, probabilities, texts),
        threshold=classifier.rule_.threshold if positive == classifier.positive_ else None,
        temperature=classifier.temperature_,
        timing=timing,
        versions=versions(),
        recipe=classifier.recipe_,
        positive_named=rows.positive not in (None, classifier.positive_, rarer),
    )
    if rows.train is not None:
        found = fit_baselines(*rows.train, texts, names)
        timing |= {f"baseline_{name}": baseline.seconds for name, baseline in found.items()}
        known = set(rows.train[0])
        inputs = replace(
            inputs,
            baselines={name: baseline.probabilities for name, baseline in found.items()},
            rows={"train": len(rows.train[0]), **inputs.rows},
            notes=training_rows_note(sum(text in known for text in texts), len(texts)),
        )
    report = build_report(inputs, seed=classifier.recipe_.seed)
    report["ood"] = classifier.ood_detector_.report(texts, labels, progress=progress)
    return EvaluationReport(report, inputs)


def check_labels(texts: Sequence[str], labels: Sequence[str], classes: Sequence[str]) -> None:
    """Check labelled rows.

    Raises:
        DataError: the lengths differ, there are no rows, or a label is not one of `classes`.
    """
    if len(texts) != len(labels):
        raise DataError(
            f"expected one label per text, got {len(texts)} texts and {len(labels)} labels; make "
            "the lengths equal"
        )
    if not len(texts):
        raise DataError("expected labelled texts, got none")
    for row, label in enumerate(labels):
        if label not in classes:
            shown = ", ".join(map(repr, classes[:10])) + (", ..." if len(classes) > 10 else "")
            raise DataError(
                f"labels[{row}]: {label!r} is not one of the classifier's labels ({shown}); "
                "correct the row or remove it"
            )


def training_rows_note(count: int, total: int) -> list[str]:
    """A note if `count` of the `total` evaluated texts are training rows."""
    return [
        f"{count:,} of the {total:,} evaluated texts are training rows of this model, so the "
        "metrics are too optimistic."
    ] * bool(count)


def label_names(labels: Iterable[Any], classes: NDArray[Any]) -> list[str]:
    """Return labels as text, in the spelling of the equal class: 1.0 of a data frame with gaps is
    the class 1. A label that equals no class keeps its own spelling.

    Raises:
        DataError: a label is missing (None or not a number).
    """
    known = {label: str(label) for label in classes.tolist()}
    found = []
    for row, given in enumerate(as_column(labels, "labels", "one label for each text")):
        label = given.item() if isinstance(given, np.generic) else given
        different = label != label
        if label is None or not isinstance(different, bool) or different:  # NaN, NaT, pandas' NA
            raise DataError(f"labels[{row}] is missing; label the row or drop it")
        found.append(known.get(label, str(label)) if label.__hash__ else str(label))
    return found
