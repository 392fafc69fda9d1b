"""One experiment from a labelled table to a run folder: read, divide, tune, judge beside the baselines, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tamis.cache import cache_directory
from tamis.classifier.out_of_distribution import looked_through
from tamis.classifier.text_classifier import TextClassifier
from tamis.config import Recipe
from tamis.data.deduplication import near_repeat_groups
from tamis.files import write_text
from tamis.gpt2.backbones import EMBEDDED, is_scratch
from tamis.gpt2.feature_cache import StateStore
from tamis.progress import Progress, once
from tamis.training.defaults import chosen_folds
from tamis.training.resolve import check_rows
from tamis.workflows.dataset import Prepared, prepare
from tamis.workflows.environment import Clock, Say, silent
from tamis.workflows.excluded_rows import beside_undisputed, disputed_sentence
from tamis.workflows.results import judge, training_rows, write_run
from tamis.workflows.run_folder import RunFolder, opened, slug


def train(
    data: str,
    recipe: Recipe,
    run: Path | None = None,
    *,
    overwrite: bool = False,
    say: Say = silent,
    progress: Progress | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Train, evaluate and write a run folder; an unfinished one of the same recipe and data is resumed.

    Returns the folder and the content of its report.json.

    Raises:
        RunError: the folder is finished, different or being written.
        TamisError: anything that is wrong with data, settings or backbone.
    """
    clock = Clock()
    with clock.phase("data"):
        prepared = prepare(data, recipe)
        parts = prepared.parts
        check_rows(recipe, parts.labels("train"))
    for note in prepared.notes:
        say(note)
    path = run or Path("runs") / slug(f"{prepared.name}-{recipe.backbone}-{recipe.tune}")
    test_mark = None if parts.test_table is None else parts.test_table.fingerprint
    asked: dict[str, Any] = {"data": parts.table.fingerprint, "test": test_mark, "recipe": recipe.model_dump()}
    if recipe.data.without is not None:
        asked["without"] = list(prepared.disputed)
    with opened(path, asked, overwrite=overwrite) as folder:
        if folder.earlier is not None:
            say(f"{path} holds an unfinished run of the same recipe; going on with it")
        report = _run(folder, folder.earlier or recipe, prepared, clock, say, progress)
    return path, report


def _run(folder: RunFolder, recipe: Recipe, prepared: Prepared, clock: Clock, say: Say, progress: Progress | None) -> dict[str, Any]:
    parts = prepared.parts
    classifier, groups = TextClassifier.from_recipe(recipe), near_repeat_groups(parts.texts("train"))
    classifier.on_resolved = lambda resolved: _begun(folder, resolved, say)
    classifier.on_notice = say = once(say)
    held_out = np.flatnonzero(np.isin(parts.train, parts.validation))
    pretrained, small, classes = not is_scratch(recipe.backbone), recipe.backbone in EMBEDDED, len(set(parts.labels("train")))
    folds = chosen_folds(recipe, pretrained=pretrained, small=small, rows=len(parts.train), classes=classes)
    with clock.phase("train"):
        classifier.fit(
            parts.texts("train"),
            parts.labels("train"),
            validation=None if folds else held_out,
            groups=groups,
            also=parts.texts("test"),
            store=StateStore(cache_directory() / "states"),
            checkpoint=folder.checkpoint,
            progress=progress,
        )
    write_text(folder.path / "recipe.toml", classifier.recipe_.to_toml())  # with what was left open and found on the way
    for note in classifier.notes_ if classifier.features_ is not None else ():
        say(note)
    say(f"tune: {classifier.recipe_.tune} ({classifier.tune_reason_})")
    for what, why in classifier.compute_.reasons.items():
        say(f"{what}: {getattr(classifier.compute_, what)} ({why})")
    report, inputs = judge(classifier, prepared, clock, progress=progress)
    with clock.phase("familiarity"):
        classifier.learn_familiarity(parts.texts("train"), held_out=parts.texts("validation"), progress=progress)
        report["familiarity"] = looked_through(classifier, parts.texts("test"), parts.labels("test"), progress=progress)
    if recipe.data.without is not None:
        report["without"] = beside_undisputed(report, inputs, parts, prepared.disputed, seed=recipe.seed)
        report["notes"].append(disputed_sentence(report["without"]))
    report["timing"]["familiarity"] = clock.seconds["familiarity"]
    with clock.phase("write"):
        rows = training_rows(classifier, parts, groups, progress)
        write_run(folder, classifier, prepared, report, inputs, rows)
    return report


def _begun(folder: RunFolder, resolved: Recipe, say: Say) -> None:
    write_text(folder.path / "recipe.toml", resolved.to_toml())
    if resolved.verdict.folds:
        say(
            f"folds: up to {resolved.verdict.folds} models are trained besides, each without a part of the rows, which all choose the "
            "threshold then (verdict.folds=0 holds some rows out instead: quicker, and it shows less)"
        )
