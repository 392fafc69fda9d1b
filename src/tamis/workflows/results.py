"""Metrics of a fitted classifier, and the content of a finished run folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.cache import cache_directory
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import (
    PREDICTIONS,
    TrainingRows,
    sample,
    text_keys,
    write_training_rows,
)
from tamis.compute.versions import versions
from tamis.config import Recipe
from tamis.data.splits import DataSplit
from tamis.decision.calibration import uncalibrated
from tamis.decision.verdict import UNSURE
from tamis.evaluation.baselines import Baseline, fit_baselines
from tamis.evaluation.fold_spread import fold_figures
from tamis.evaluation.report.live_scores import live_scores
from tamis.evaluation.report.model_card import model_card
from tamis.evaluation.report.next_steps import next_steps
from tamis.evaluation.report.plots import PlotData, write_all
from tamis.evaluation.report.render_html import MOST_MISTAKES, write_html
from tamis.evaluation.report.report import Part, ReportInputs, build_report, most_confident_mistakes
from tamis.gpt2.feature_cache import FeatureCache
from tamis.head.class_weights import class_weights
from tamis.progress import Progress
from tamis.text.augmentation import augments
from tamis.workflows.dataset import Dataset
from tamis.workflows.environment import Clock
from tamis.workflows.run_folder import RunFolder, slug


def training_rows(
    classifier: TextClassifier,
    split: DataSplit,
    groups: NDArray[np.int64],
    progress: Progress | None = None,
) -> TrainingRows:
    """Features and targets of the training rows as input of the head. If the trunk was trained, its
    features are computed again.
    """
    names, recipe = [str(c) for c in classifier.classes_], classifier.recipe_
    targets = np.array([names.index(label) for label in split.labels("train")], dtype=np.int64)
    rows, exact = sample(targets, seed=recipe.seed), classifier.training_.features is not None
    texts = [split.texts("train")[row] for row in rows.tolist()]
    if classifier.training_.features is not None:
        features = classifier.training_.features[rows]
    else:
        features = classifier.predictor_.embed(texts, progress=progress)
    return TrainingRows(
        features=features,
        targets=targets[rows],
        groups=groups[rows],
        keys=text_keys(texts),
        held_out=np.zeros(len(rows), dtype=bool)
        if exact or classifier.training_.cross_validated
        else np.isin(rows, classifier.training_.held_out),
        classes=tuple(names),
        class_weights=class_weights(recipe, targets, names),
        # Perturbed copies and undersampled draws are not stored, so these rows alone cannot
        # reproduce the head.
        inverse_penalty=classifier.training_.facts["inverse_penalty"]
        if exact and len(rows) == len(targets) and not _others(recipe)
        else None,
    )


def _others(recipe: Recipe) -> bool:
    return augments(recipe.train) or recipe.train.undersample


def state_cache(recipe: Recipe) -> FeatureCache | None:
    """Return the cache of the trunk's states; None for a trained trunk: its states serve this model
    alone.
    """
    return FeatureCache(cache_directory() / "states") if recipe.tune == "head" else None


def evaluate_classifier(
    classifier: TextClassifier,
    dataset: Dataset,
    clock: Clock,
    *,
    baselines: dict[str, Baseline],
    progress: Progress | None = None,
) -> tuple[dict[str, Any], ReportInputs]:
    """Metrics of a fitted classifier and of the baselines on the validation and test rows.

    The baselines are fitted on the same training rows, and put into `baselines`; those that are in
    it are used.
    """
    parts, names = dataset.split, [str(c) for c in classifier.classes_]
    compute, recipe = classifier.predictor_.compute, classifier.recipe_
    with clock.phase("test"):
        probabilities = classifier.predictor_.probabilities(
            parts.texts("test"), cache=state_cache(recipe), progress=progress
        )
    with clock.phase("baselines"):
        if not baselines:
            baselines |= fit_baselines(
                parts.texts("train"), parts.labels("train"), parts.texts("test"), names
            )
    scored = sum(clock.seconds.get(name, 0.0) for name in ("train", "test"))
    timing: dict[str, Any] = dict(clock.seconds)
    timing["messages_per_s"] = len(parts.table) / scored if scored else None
    timing |= {f"baseline_{name}": baseline.seconds for name, baseline in baselines.items()}
    timing |= {
        "device": compute.device,
        "threads": compute.threads,
        "dtype": compute.dtype,
        "reasons": compute.reasons,
    }
    inputs = ReportInputs(
        classes=names,
        positive=classifier.positive_,
        split=parts.name,
        backbone=recipe.backbone,
        tune=recipe.tune,
        data=dataset.name,
        rows={part: len(parts.rows(part)) for part in ("train", "validation", "test")},
        test=Part(parts.labels("test"), probabilities, parts.texts("test"))
        if len(parts.test)
        else None,
        validation=_validation(classifier, parts),
        threshold=classifier.training_.decision.threshold or classifier.rule_.threshold,
        unsure=classifier.training_.decision.unsure,
        temperature=classifier.temperature_,
        calibration=classifier.training_.decision.calibration,
        baselines={name: baseline.probabilities for name, baseline in baselines.items()}
        if len(parts.test)
        else {},
        timing=timing,
        versions=versions(),
        notes=[*dataset.notes, *classifier.training_.extra_notes],
        test_data="" if parts.test_table is None else Path(parts.test_table.source).name,
        recipe=recipe,
    )
    report = build_report(inputs, seed=recipe.seed)
    report["folds"] = None
    if classifier.training_.fold_ids is not None:
        labels, threshold = parts.labels("train"), classifier.rule_.threshold
        scores, folds, about = (
            classifier.training_.held_out_probabilities,
            classifier.training_.fold_ids,
            classifier.positive_,
        )
        report["folds"] = fold_figures(
            labels, scores, folds, names, positive=about, threshold=threshold
        )
    return report, inputs


def _validation(classifier: TextClassifier, split: DataSplit) -> Part | None:
    """The validation rows, with scores from models that were not trained on them."""
    places = np.flatnonzero(np.isin(split.train[classifier.training_.held_out], split.validation))
    if not len(places):
        return None
    rows = split.train[classifier.training_.held_out][places]
    table = split.table
    return Part(
        [table.labels[r] for r in rows],
        classifier.training_.held_out_probabilities[places],
        [table.texts[r] for r in rows],
    )


def write_run(
    folder: RunFolder,
    classifier: TextClassifier,
    dataset: Dataset,
    report: dict[str, Any],
    inputs: ReportInputs,
    rows: TrainingRows,
    *,
    plots: bool = True,
) -> None:
    """Write all files of a finished run folder, the plots if they are wanted; report.json last."""
    folder.write_lines("history.jsonl", classifier.training_.history)
    folder.write_lines(PREDICTIONS, predictions(classifier, inputs))
    about = {
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.split.table.fingerprint,
            "text": dataset.split.table.text_column,
            "label": dataset.split.table.label_column,
        },
        "versions": report["versions"],
    }
    about["figures"] = {
        "test": report["test"],
        "validation": report["validation"],
        "facts": classifier.training_.facts,
    }
    classifier.save(
        folder.path / "model", card=model_card(report, name=slug(dataset.name)), about=about
    )
    write_training_rows(folder.path, rows)
    shown = inputs.test or inputs.validation
    drawn = PlotData(
        inputs.classes,
        inputs.positive,
        classifier.rule_.threshold,
        history=classifier.training_.history,
    )
    if shown is not None:
        calibration = classifier.training_.decision.calibration
        drawn = replace(
            drawn,
            labels=shown.labels,
            probabilities=shown.probabilities,
            baselines=inputs.baselines if shown is inputs.test else {},
            before=uncalibrated(shown.probabilities, calibration),
        )
    pictures = write_all(folder.path / "plots", drawn) if plots else {}
    mistakes = (
        most_confident_mistakes(
            shown,
            inputs.classes,
            positive=inputs.positive,
            threshold=classifier.rule_.threshold,
            limit=MOST_MISTAKES,
        )
        if shown
        else []
    )
    report["next_steps"] = next_steps(report)  # what was added to the report counts too
    live = live_scores(shown, report)
    write_html(folder.path / "report.html", report, pictures, mistakes, live)
    folder.write_json("report.json", report)


def predictions(classifier: TextClassifier, inputs: ReportInputs) -> Iterator[dict[str, Any]]:
    """One row per evaluated text: part, row (0-based, within the part), label, verdict,
    probabilities.
    """
    for name, part in (("validation", inputs.validation), ("test", inputs.test)):
        if part is None:
            continue
        chosen = classifier.rule_.labels(np.asarray(part.probabilities), list(inputs.classes))
        unsure = classifier.rule_.unsure(np.asarray(part.probabilities), list(inputs.classes))
        for row, (label, k, doubt, p) in enumerate(
            zip(part.labels, chosen, unsure, part.probabilities, strict=True)
        ):
            yield {
                "part": name,
                "row": row,
                "label": label,
                "predicted": inputs.classes[k],
                "verdict": UNSURE if doubt else inputs.classes[k],
                "probabilities": dict(zip(inputs.classes, p.tolist(), strict=True)),
                "text": part.texts[row],
            }
