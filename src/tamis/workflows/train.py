"""One experiment from a labelled table to a run folder: read, divide, tune, judge beside the baselines, write."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.out_of_distribution import looked_through
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import TrainingRows, sample, text_keys, write_training_rows
from tamis.config import Recipe
from tamis.data import catalog
from tamis.data.deduplication import near_repeat_groups
from tamis.data.splits import Parts, split_table
from tamis.data.tables import check_trainable, read_table
from tamis.decision.calibration import uncalibrated
from tamis.decision.verdict import UNSURE
from tamis.download import cache_directory
from tamis.evaluation.baselines import fit_baselines
from tamis.evaluation.fold_spread import fold_figures
from tamis.evaluation.report.model_card import model_card
from tamis.evaluation.report.plots import write_all
from tamis.evaluation.report.render_html import write_html
from tamis.evaluation.report.report import Part, ReportInputs, build_report, most_confident_mistakes
from tamis.files import write_text
from tamis.gpt2.backbones import EMBEDDED, is_scratch
from tamis.gpt2.feature_cache import StateStore
from tamis.head.class_weights import class_weights
from tamis.head.refit import features_of
from tamis.progress import Progress, once
from tamis.training.defaults import chosen_folds
from tamis.training.resolve import check_rows
from tamis.workflows.excluded_rows import beside_undisputed, disputed_sentence, leave_out
from tamis.workflows.run_folder import PREDICTIONS, RunFolder, opened

Say = Callable[[str], None]
_VERSIONS = ("tamis", "torch", "numpy", "scikit-learn", "tokenizers", "safetensors")


def silent(sentence: str) -> None:
    """Say nothing."""


@dataclass
class Clock:
    """Seconds per phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block under `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


@dataclass(frozen=True)
class Prepared:
    """A table found, read and divided."""

    name: str
    parts: Parts
    notes: tuple[str, ...]
    disputed: tuple[int, ...] = ()
    """Rows of the table that are not trained on."""


def prepare(data: str, recipe: Recipe) -> Prepared:
    """Find, read and divide a table as the recipe says.

    Raises:
        DataError, ConfigError: see `tamis.data`.
    """
    located = catalog.resolve(data)
    settings = recipe.data
    table = read_table(located.path, text=settings.text, label=settings.label)
    check_trainable(table)
    test = None if settings.test is None else read_table(Path(settings.test), text=settings.text, label=settings.label)
    parts = split_table(table, settings.split, seed=recipe.seed, validation_share=settings.validation_share, test=test)
    parts, disputed = (parts, ()) if settings.without is None else leave_out(parts, Path(settings.without))
    return Prepared(located.name, parts, (*located.notes, *table.notes, *parts.notes), disputed)


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
    path = run or Path("runs") / _slug(f"{prepared.name}-{recipe.backbone}-{recipe.tune}")
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


def training_rows(classifier: TextClassifier, parts: Parts, groups: NDArray[np.int64], progress: Progress | None = None) -> TrainingRows:
    """The training rows as the fitted head sees them; the trunk runs over them once more where it was trained itself."""
    names, recipe = [str(c) for c in classifier.classes_], classifier.recipe_
    targets = np.array([names.index(label) for label in parts.labels("train")], dtype=np.int64)
    rows, exact = sample(targets, seed=recipe.seed), classifier.features_ is not None
    texts = [parts.texts("train")[row] for row in rows.tolist()]
    if classifier.features_ is not None:
        features = classifier.features_[rows]
    else:
        trunk = classifier.scorer().transformer
        features = features_of(trunk, classifier.messages(texts), progress=progress)
    return TrainingRows(
        features=features,
        targets=targets[rows],
        groups=groups[rows],
        keys=text_keys(texts),
        held_out=np.zeros(len(rows), dtype=bool) if exact or classifier.crossfit_ else np.isin(rows, classifier.held_out_),
        classes=tuple(names),
        class_weights=class_weights(recipe, targets, names),
        # Neither attacked copies nor what was drawn are kept: a head solved on all these rows alone would be another.
        inverse_penalty=classifier.facts_["inverse_penalty"] if exact and len(rows) == len(targets) and not _others(recipe) else None,
    )


def _others(recipe: Recipe) -> bool:
    return bool(recipe.train.attacked_positives or recipe.train.attacked_negatives or recipe.train.undersample)


def judge(
    classifier: TextClassifier, prepared: Prepared, clock: Clock, *, progress: Progress | None = None
) -> tuple[dict[str, Any], ReportInputs]:
    """Figures of a fitted classifier on the validation and test rows, beside the baselines fitted on the same training rows."""
    parts, names = prepared.parts, [str(c) for c in classifier.classes_]
    with clock.phase("test"):
        probabilities = classifier.predict_proba(parts.texts("test"), progress=progress)
    with clock.phase("baselines"):
        baselines = fit_baselines(parts.texts("train"), parts.labels("train"), parts.texts("test"), names)
    scored = sum(clock.seconds.get(name, 0.0) for name in ("train", "test"))
    timing: dict[str, Any] = dict(clock.seconds)
    timing["messages_per_s"] = len(parts.table) / scored if scored else None
    timing |= {f"baseline_{name}": baseline.seconds for name, baseline in baselines.items()}
    compute, recipe = classifier.compute_, classifier.recipe_
    timing |= {"device": compute.device, "threads": compute.threads, "dtype": compute.dtype, "reasons": compute.reasons}
    inputs = ReportInputs(
        classes=names,
        positive=classifier.positive_,
        split=parts.name,
        backbone=recipe.backbone,
        tune=recipe.tune,
        data=prepared.name,
        rows={part: len(parts.rows(part)) for part in ("train", "validation", "test")},
        test=Part(parts.labels("test"), probabilities, parts.texts("test")) if len(parts.test) else None,
        validation=_validation(classifier, parts),
        threshold=classifier.decision_.threshold or classifier.rule_.threshold,
        unsure=classifier.decision_.unsure,
        temperature=classifier.temperature_,
        calibration=classifier.decision_.calibration,
        baselines={name: baseline.probabilities for name, baseline in baselines.items()} if len(parts.test) else {},
        timing=timing,
        versions=versions(),
        notes=[*prepared.notes, *classifier.extra_notes_],
    )
    report = build_report(inputs, seed=recipe.seed)
    report["folds"] = None
    if classifier.parts_ is not None:
        labels, threshold = parts.labels("train"), classifier.rule_.threshold
        scores, folds, about = classifier.held_out_probabilities_, classifier.parts_, classifier.positive_
        report["folds"] = fold_figures(labels, scores, folds, names, positive=about, threshold=threshold)
    return report, inputs


def _validation(classifier: TextClassifier, parts: Parts) -> Part | None:
    """The validation rows, with scores from models that did not see them."""
    places = np.flatnonzero(np.isin(parts.train[classifier.held_out_], parts.validation))
    if not len(places):
        return None
    rows = parts.train[classifier.held_out_][places]
    table = parts.table
    return Part([table.labels[r] for r in rows], classifier.held_out_probabilities_[places], [table.texts[r] for r in rows])


def write_run(
    folder: RunFolder,
    classifier: TextClassifier,
    prepared: Prepared,
    report: dict[str, Any],
    inputs: ReportInputs,
    rows: TrainingRows,
) -> None:
    """Everything a finished run folder holds; report.json last."""
    folder.write_lines("history.jsonl", classifier.history_)
    folder.write_lines(PREDICTIONS, predictions(classifier, inputs))
    about = {"data": {"name": prepared.name, "fingerprint": prepared.parts.table.fingerprint}, "versions": report["versions"]}
    about["figures"] = {"test": report["test"], "validation": report["validation"], "facts": classifier.facts_}
    classifier.save(folder.path / "model", card=model_card(report, name=_slug(prepared.name)), about=about)
    write_training_rows(folder.path, rows)
    shown = inputs.test or inputs.validation
    plots = write_all(
        folder.path / "plots",
        classes=inputs.classes,
        positive=inputs.positive,
        threshold=classifier.rule_.threshold,
        labels=shown.labels if shown else (),
        probabilities=shown.probabilities if shown else None,
        baselines=inputs.baselines if shown is inputs.test else None,
        before=uncalibrated(shown.probabilities, classifier.decision_.calibration) if shown else None,
        history=classifier.history_,
    )
    mistakes = (
        most_confident_mistakes(shown, inputs.classes, positive=inputs.positive, threshold=classifier.rule_.threshold) if shown else []
    )
    write_html(folder.path / "report.html", report, plots, mistakes)
    folder.write_json("report.json", report)


def predictions(classifier: TextClassifier, inputs: ReportInputs) -> Iterator[dict[str, Any]]:
    """A row per judged message: part, row (from 0, in the part's order), label, verdict, probabilities."""
    for name, part in (("validation", inputs.validation), ("test", inputs.test)):
        if part is None:
            continue
        chosen = classifier.rule_.labels(np.asarray(part.probabilities), list(inputs.classes))
        unsure = classifier.rule_.unsure(np.asarray(part.probabilities), list(inputs.classes))
        for row, (label, k, doubt, p) in enumerate(zip(part.labels, chosen, unsure, part.probabilities, strict=True)):
            yield {
                "part": name,
                "row": row,
                "label": label,
                "predicted": inputs.classes[k],
                "verdict": UNSURE if doubt else inputs.classes[k],
                "probabilities": dict(zip(inputs.classes, p.tolist(), strict=True)),
                "text": part.texts[row],
            }


def versions() -> dict[str, str]:
    """Versions of Python, the system and the libraries that decide results."""
    found: dict[str, str] = {"python": platform.python_version(), "system": platform.platform()}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in text).strip("-.") or "run"
