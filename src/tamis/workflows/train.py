"""Training: read and split a labelled table, train, evaluate with baselines, write a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tamis.cache import cache_directory
from tamis.classifier.out_of_distribution import OODDetector
from tamis.classifier.text_classifier import TextClassifier
from tamis.config import Recipe
from tamis.data.deduplication import near_repeat_groups
from tamis.data.labels import typed_labels
from tamis.evaluation.report.evaluation_report import EvaluationReport
from tamis.files import write_text
from tamis.gpt2.backbones import EMBEDDED, is_scratch
from tamis.gpt2.feature_cache import FeatureCache
from tamis.progress import Progress, Silent, once
from tamis.training.callbacks import Callbacks, Tracker
from tamis.training.defaults import resolve_cv_folds
from tamis.training.resolve import check_rows
from tamis.training.trackers import HistoryTracker, tracker
from tamis.workflows.dataset import Dataset, load_dataset
from tamis.workflows.environment import Clock, Say, silent
from tamis.workflows.excluded_rows import excluded_sentence, figures_without_excluded
from tamis.workflows.results import evaluate_classifier, training_rows, write_run
from tamis.workflows.run_folder import RunFolder, opened, slug
from tamis.workflows.run_result import RunResult


def train(
    data: Any,
    recipe: Recipe,
    run: Path | None = None,
    *,
    overwrite: bool = False,
    say: Say = silent,
    progress: Progress | None = None,
    log: Sequence[str | Tracker] = (),
) -> RunResult:
    """Train, evaluate and write a run folder. An unfinished run with the same recipe and data is
    resumed.

    Args:
        data: a file, the name of a known data set, or a table in memory.
        recipe: all settings.
        run: the run folder.
        overwrite: replace the run in the folder.
        say: receives messages for the user.
        progress: receives progress updates.
        log: experiment trackers, by name (`training.trackers.tracker`) or as objects.

    Raises:
        MissingExtraError: a tracker is not installed.
        RunError: the folder contains a finished run or another run, or another process uses it.
        TamisError: data, settings or backbone are invalid.
    """
    clock = Clock()
    with clock.phase("data"):
        prepared = load_dataset(data, recipe)
        parts = prepared.split
        check_rows(recipe, parts.labels("train"))
    for note in prepared.notes:
        say(note)
    path = run or Path("runs") / slug(f"{prepared.name}-{recipe.backbone}-{recipe.tune}")
    test_mark = None if parts.test_table is None else parts.test_table.fingerprint
    asked: dict[str, Any] = {
        "data": parts.table.fingerprint,
        "test": test_mark,
        "recipe": recipe.model_dump(),
    }
    if recipe.data.exclude is not None:
        asked["exclude"] = list(prepared.excluded)
    named = [tracker(one, path) if isinstance(one, str) else one for one in log]
    with opened(path, asked, overwrite=overwrite) as folder, ExitStack() as trackers:
        if folder.earlier is not None:
            say(f"{path} contains an unfinished run with the same recipe; resuming it")
        hooks = Callbacks(
            progress=progress or Silent(),
            on_resolved=lambda resolved: _begun(folder, resolved, say),
            on_notice=once(say),
            trackers=[trackers.enter_context(one) for one in (HistoryTracker(path), *named)],
            checkpoint=folder.checkpoint,
            cache=FeatureCache(cache_directory() / "states"),
        )
        classifier, report = _run(folder, folder.earlier or recipe, prepared, clock, hooks)
        for one in hooks.trackers:
            one.finish(report.report)
    return RunResult(path, classifier, report)


def _run(
    folder: RunFolder,
    recipe: Recipe,
    dataset: Dataset,
    clock: Clock,
    hooks: Callbacks,
) -> tuple[TextClassifier, EvaluationReport]:
    parts, say, progress = dataset.split, hooks.on_notice, hooks.progress
    classifier, groups = (
        TextClassifier.from_recipe(recipe),
        near_repeat_groups(parts.texts("train")),
    )
    held_out = np.flatnonzero(np.isin(parts.train, parts.validation))
    pretrained, small, classes = (
        not is_scratch(recipe.backbone),
        recipe.backbone in EMBEDDED,
        len(set(parts.labels("train"))),
    )
    folds = resolve_cv_folds(
        recipe, pretrained=pretrained, small=small, rows=len(parts.train), classes=classes
    )
    with clock.phase("train"):
        classifier.fit(
            parts.texts("train"),
            typed_labels(parts.labels("train")),
            validation=None if folds else held_out,
            groups=groups,
            callbacks=hooks,
        )
    write_text(
        folder.path / "recipe.toml", classifier.recipe_.to_toml()
    )  # with the defaults that were resolved during training
    for note in classifier.training_.notes if classifier.training_.features is not None else ():
        say(note)
    say(f"tune: {classifier.recipe_.tune} ({classifier.training_.tune_reason})")
    for what, why in classifier.predictor_.compute.reasons.items():
        say(f"{what}: {getattr(classifier.predictor_.compute, what)} ({why})")
    report, inputs = evaluate_classifier(classifier, dataset, clock, progress=progress)
    with clock.phase("ood"):
        detector = OODDetector(classifier.predictor_, classifier.recipe_).fitted(
            parts.texts("train"), held_out=parts.texts("validation"), progress=progress
        )
        classifier.ood_detector_ = detector
        report["ood"] = detector.report(
            parts.texts("test"), parts.labels("test"), progress=progress
        )
    if recipe.data.exclude is not None:
        report["excluded"] = figures_without_excluded(
            report, inputs, parts, dataset.excluded, seed=recipe.seed
        )
        report["notes"].append(excluded_sentence(report["excluded"]))
    report["timing"]["ood"] = clock.seconds["ood"]
    with clock.phase("write"):
        rows = training_rows(classifier, parts, groups, progress)
        write_run(folder, classifier, dataset, report, inputs, rows)
    return classifier, EvaluationReport(report, inputs)


def _begun(folder: RunFolder, resolved: Recipe, say: Say) -> None:
    write_text(folder.path / "recipe.toml", resolved.to_toml())
    if resolved.decision.cv_folds:
        say(
            f"Training up to {resolved.decision.cv_folds} cross-validation models to choose the "
            "threshold. decision.cv_folds=0 uses the validation rows instead: faster, but less "
            "precise."
        )
