"""Evaluate a trained model on labelled rows: metrics with intervals and, on request, robustness and
prequential evaluation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tamis.classifier.evaluation import EvaluatedRows, evaluate_rows, training_rows_note
from tamis.classifier.model_folder import find_model, training_columns
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import read_training_rows, text_keys
from tamis.config import Recipe
from tamis.data import catalog
from tamis.data.known_labels import with_known_labels
from tamis.data.labels import known_labels, matching_label
from tamis.data.splits import positive_label, split_table
from tamis.data.tables import Table, read_table
from tamis.errors import ConfigError
from tamis.evaluation.prequential import PrequentialFigures
from tamis.evaluation.report.next_steps import next_steps
from tamis.evaluation.report.prequential_plot import write_learning_curves
from tamis.evaluation.report.robustness_plot import write_robustness
from tamis.evaluation.robustness import PerturbationResult, evaluate_robustness
from tamis.feedback.loading import BY_DEFAULT, FeedbackChoice, FeedbackInUse, load_with_feedback
from tamis.feedback.replay import LabelledStream, run_prequential
from tamis.progress import Progress
from tamis.workflows.environment import Say, silent


@dataclass(frozen=True)
class EvaluationOptions:
    """What an evaluation covers besides the metrics."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """`text`, `label` (by default those of the training), `header`, `skip_unlabelled`, `positive`,
    `split` (only the test rows of this split are evaluated)"""
    page: Path | None = None
    """also write an HTML report to this file"""
    robustness: bool = False
    """also evaluate perturbed texts at the model's threshold (two classes only)"""
    prequential: tuple[int, float] | None = None
    """also run a prequential evaluation (two classes only): number of messages until a delayed
    label is known, and fraction of labels that become known if labels are few. The learning curves
    are written beside the page."""
    feedback: FeedbackChoice = BY_DEFAULT
    """which corrections the evaluated model has learned"""


METRICS_ONLY = EvaluationOptions()


def evaluate(
    run: Path | str,
    data: str,
    options: EvaluationOptions = METRICS_ONLY,
    *,
    say: Say = silent,
    progress: Progress | None = None,
    **compute: Any,
) -> dict[str, Any]:
    """Evaluate a trained model on a labelled table. Returns a report without baselines.

    Args:
        run: run or model folder.
        data: file or name of a known data set; all rows are evaluated.
        options: what else is evaluated, and on which rows.
        say: receives messages for the user.
        progress: receives progress updates.
        compute: device, threads, dtype.

    Raises:
        DataError: the model does not know a label.
        ConfigError: robustness needs a positive label and the model's threshold; a prequential
            evaluation needs two classes.
    """
    find_model(run)  # raises for an exported folder
    loaded = load_with_feedback(run, options.feedback, **compute)
    classifier: Any = loaded.classifier
    settings, page = options.settings, options.page
    wanted = Recipe().changed({f"data.{k}": v for k, v in settings.items() if v is not None})
    located = catalog.resolve(data)
    text, label = training_columns(run)
    table = read_table(
        located.path,
        text=wanted.data.text or text,
        label=wanted.data.label or label,
        header=wanted.data.header,
        skip_unlabelled=wanted.data.skip_unlabelled,
    )
    for note in (*located.notes, *table.notes):
        say(note)
    table = with_known_labels(table, classifier.classes_)
    if settings.get("split"):
        parts = split_table(table, wanted.data.split, seed=classifier.recipe_.seed)
        texts, labels, name = parts.texts("test"), parts.labels("test"), parts.name
        pool = parts.select("train")
    else:
        texts, labels, name = list(table.texts), list(table.labels), "all rows"
        pool = table
    about, new = learned_rows(loaded.feedback, texts)
    texts, labels = [texts[row] for row in new], [labels[row] for row in new]
    names = [str(c) for c in classifier.classes_]
    asked = wanted.data.positive
    positive = (
        (asked and matching_label(asked, known_labels(names)))
        or asked
        or classifier.positive_
        or (positive_label(labels) if len(names) == 2 else None)
    )
    threshold = classifier.rule_.threshold if positive == classifier.positive_ else None
    rows = EvaluatedRows(texts, labels, located.name, name, positive)
    found = evaluate_rows(classifier, rows, progress=progress)
    report = found.report
    report["notes"] += [*about["notes"], *trained_on(run, texts)]
    report["feedback"] = {key: value for key, value in about.items() if key != "notes"}
    disguised = (
        _robustness(classifier, texts, labels, positive, threshold, pool)
        if options.robustness
        else []
    )
    if options.robustness:
        report["robustness"] = [result.to_dict() for result in disguised]
    replayed: list[PrequentialFigures] = []
    if options.prequential is not None:
        before = (pool.texts, pool.labels) if pool is not table else ((), ())
        stream = LabelledStream(texts, labels, positive, before)
        delay, share = options.prequential
        trained: Any = loaded.trained
        replayed, notes = run_prequential(
            trained, run, stream, delay=delay, share=share, progress=progress
        )
        report["prequential"] = {
            "delay": delay,
            "share": share,
            "results": [result.to_dict() for result in replayed],
            "notes": notes,
        }
    report["next_steps"] = next_steps(report)
    if page is not None:
        with tempfile.TemporaryDirectory() as folder:
            plots = {}
            if disguised:
                plots["robustness"] = write_robustness(
                    Path(folder) / "robustness.png", disguised, positive=str(positive)
                )
            if replayed:
                curves = write_learning_curves(
                    page.with_name(f"{page.stem}-prequential.png"), replayed
                )
                plots["Prequential evaluation: 1-ROCA % of the messages so far"] = curves
                say(f"wrote {curves}")
            found.save(page, plots)
    return report


def learned_rows(feedback: FeedbackInUse, texts: Sequence[str]) -> tuple[dict[str, Any], list[int]]:
    """Say which model is evaluated, and leave out the rows that it has learned as corrections.

    Returns:
        What the report says of corrections (`store`, `in_effect`, `not_in_effect`,
        `excluded_rows`, `notes`), and the numbers of the rows to evaluate: all of them if every
        row is a correction.
    """
    learned = {item.text for item in feedback.used}
    new = [row for row, text in enumerate(texts) if text not in learned]
    known, notes = len(texts) - len(new), []
    about = {**feedback.to_dict(), "excluded_rows": known if new else 0}
    if feedback.used:
        notes.append(
            f"The evaluated model has learned {len(feedback.used):,} corrections of "
            f"{feedback.store}; --no-feedback evaluates the model as trained."
        )
    elif feedback.waiting:
        notes.append(
            f"The evaluated model is the model as trained: none of the {feedback.waiting:,} "
            f"corrections in {feedback.store} is in effect."
        )
    if known and new:
        notes.append(
            f"{known:,} of {len(texts):,} rows are corrections that the model has learned; they "
            "are not evaluated."
        )
    elif known:
        notes.append(
            f"All {known:,} rows are corrections that the model has learned: the metrics show what "
            "it has learned, not how good it is on new texts."
        )
        new = list(range(len(texts)))
    return {**about, "notes": notes}, new


def trained_on(run: Path | str, texts: Sequence[str]) -> list[str]:
    """A note if evaluated texts are among the training rows of a run."""
    rows = read_training_rows(Path(run))
    if rows is None or not texts:
        return []
    known = {key.tobytes() for key in rows.keys}
    count = sum(key.tobytes() in known for key in text_keys(texts))
    return training_rows_note(count, len(texts))


def _robustness(
    classifier: TextClassifier,
    texts: list[str],
    labels: list[str],
    positive: str | None,
    threshold: float | None,
    pool: Table,
) -> list[PerturbationResult]:
    """Evaluate all perturbations at the model's threshold. Words to insert come from the negatives
    of the pool.
    """
    if positive is None or threshold is None:
        raise ConfigError(
            "--robustness needs a model with two classes and a threshold, and the positive label "
            "that the model was trained with; leave out --robustness or --positive"
        )
    place = [str(c) for c in classifier.classes_].index(positive)
    good = list(
        dict.fromkeys(
            text for text, label in zip(pool.texts, pool.labels, strict=True) if label != positive
        )
    )
    truth = np.array([label == positive for label in labels])
    return evaluate_robustness(
        lambda some: classifier.predict_proba(some)[:, place],
        texts,
        truth,
        threshold=threshold,
        seed=classifier.recipe_.seed,
        ham=good,
    )
