"""Fit one classifier, evaluate it with baselines, and write the files of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.out_of_distribution import OODDetector
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import TrainingRows
from tamis.config import Recipe
from tamis.data.deduplication import near_repeat_groups
from tamis.data.labels import typed_labels
from tamis.evaluation.baselines import Baseline
from tamis.evaluation.report.report import ReportInputs
from tamis.files import write_text
from tamis.gpt2.backbones import EMBEDDED, is_scratch
from tamis.training.callbacks import Callbacks
from tamis.training.defaults import resolve_cv_folds
from tamis.workflows.dataset import Dataset
from tamis.workflows.environment import Clock
from tamis.workflows.excluded_rows import excluded_sentence, figures_without_excluded
from tamis.workflows.results import (
    evaluate_classifier,
    state_cache,
    training_rows,
    write_run,
)
from tamis.workflows.run_folder import RunFolder


@dataclass(eq=False)
class TrainingInputs:
    """What every classifier of a run is fitted and evaluated with."""

    dataset: Dataset
    groups: NDArray[np.int64] = field(init=False)
    """(R,) group of near-repeats of each training row"""
    baselines: dict[str, Baseline] = field(default_factory=dict)
    """fitted once; empty until the first evaluation"""

    def __post_init__(self) -> None:
        """Find the near-repeats."""
        self.groups = near_repeat_groups(self.dataset.split.texts("train"))


@dataclass(frozen=True)
class FittedRun:
    """A fitted classifier with its evaluation."""

    classifier: TextClassifier
    report: dict[str, Any]
    """the content of report.json"""
    inputs: ReportInputs
    clock: Clock

    @property
    def held_out(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(H,) training rows that the scores were not fitted on, and their (H, K) probabilities."""
        record = self.classifier.training_
        return record.held_out, record.held_out_probabilities

    def write(
        self, folder: RunFolder, inputs: TrainingInputs, hooks: Callbacks, *, plots: bool = True
    ) -> None:
        """Write all files to a folder; the plots only if they are wanted."""
        with self.clock.phase("write"):
            rows: TrainingRows = training_rows(
                self.classifier, inputs.dataset.split, inputs.groups, hooks.progress
            )
            recipe = self.classifier.recipe_.to_toml() + self._processes()
            write_text(folder.path / "recipe.toml", recipe)
            write_run(
                folder,
                self.classifier,
                inputs.dataset,
                self.report,
                self.inputs,
                rows,
                plots=plots,
            )

    def _processes(self) -> str:
        """A comment for the recipe of a model that several processes trained."""
        numbers = self.classifier.training_.facts.get("processes")
        if not numbers:
            return ""
        named = ", then ".join(map(str, numbers))
        return (
            f"\n# Trained by {named} processes (torchrun). Another number of processes gives the "
            "same weights only up to\n# rounding, and with dropout other random numbers.\n"
        )


def fitted_classifier(
    recipe: Recipe, inputs: TrainingInputs, hooks: Callbacks, clock: Clock
) -> TextClassifier:
    """Fit a classifier on the training rows of a data set.

    Args:
        recipe: as requested, or resolved.
        inputs: the rows.
        hooks: of the fit.
        clock: gets the seconds of the phase `train`.
    """
    parts = inputs.dataset.split
    classifier = TextClassifier.from_recipe(recipe)
    folds = resolve_cv_folds(
        recipe,
        pretrained=not is_scratch(recipe.backbone),
        small=recipe.backbone in EMBEDDED,
        rows=len(parts.train),
        classes=len(set(parts.labels("train"))),
    )
    held_out = np.flatnonzero(np.isin(parts.train, parts.validation))
    with clock.phase("train"):
        return classifier.fit(
            parts.texts("train"),
            typed_labels(parts.labels("train")),
            validation=None if folds else held_out,
            groups=inputs.groups,
            callbacks=hooks,
        )


def evaluated(
    classifier: TextClassifier,
    inputs: TrainingInputs,
    hooks: Callbacks,
    clock: Clock,
    *,
    reasons: Mapping[str, str] | None = None,
) -> FittedRun:
    """Evaluate a fitted classifier on the test and validation rows.

    Args:
        classifier: fitted on the training rows.
        inputs: the rows; its baselines are fitted by the first call.
        hooks: receives progress.
        clock: seconds so far; gets those of the evaluation.
        reasons: for device, threads and dtype, if not the classifier's own.
    """
    classifier.predictor_.compute.reasons.update(reasons or {})
    report, shown = evaluate_classifier(
        classifier,
        inputs.dataset,
        clock,
        baselines=inputs.baselines,
        progress=hooks.progress,
    )
    return FittedRun(classifier, report, shown, clock)


def with_ood_limit(run: FittedRun, inputs: TrainingInputs, hooks: Callbacks) -> None:
    """Fit the limit of out-of-distribution texts, and add its figures and those without excluded
    rows to the report.
    """
    parts, classifier, report = inputs.dataset.split, run.classifier, run.report
    recipe = classifier.recipe_
    with run.clock.phase("ood"):
        detector = OODDetector(classifier.predictor_, recipe).fitted(
            parts.texts("train"),
            features=classifier.training_.features,
            held_out=parts.texts("validation"),
            progress=hooks.progress,
        )
        classifier.ood_detector_ = detector
        report["ood"] = detector.report(
            parts.texts("test"),
            parts.labels("test"),
            # The evaluation has put the states of a frozen trunk into the cache.
            cache=state_cache(recipe),
            progress=hooks.progress,
        )
    if recipe.data.exclude is not None:
        report["excluded"] = figures_without_excluded(
            report, run.inputs, parts, inputs.dataset.excluded, seed=recipe.seed
        )
        report["notes"].append(excluded_sentence(report["excluded"]))
    report["timing"]["ood"] = run.clock.seconds["ood"]
