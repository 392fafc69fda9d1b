"""What mends the result: the suggestions of the report and the real causes, each trained alone,
then all together; and TF-IDF on the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tamis.config import Recipe
from tamis.evaluation.baselines import fit_baselines
from tamis.evaluation.metrics import figures
from tamis.evaluation.report.report import json_safe
from tamis.workflows.environment import Say
from tamis.workflows.reproduce_tp2.output_folder import OutputFolder
from tamis.workflows.reproduce_tp2.runner import Runner, of_sought
from tamis.workflows.reproduce_tp2.table_rows import Table
from tamis.workflows.reproduce_tp2.wording import figures_line

REMEDIES: dict[str, dict[str, Any]] = {
    "5 epochs": {"train.epochs": 5},
    "undersampling": {"train.undersample": True},
    "head on the last token before the padding": {"text.pooling": "last_token"},
    "last block also trained": {"tune": "blocks:1"},
    "mean pooling": {"text.pooling": "mean"},
    "threshold for max_fpr = 0.2 %": {
        "decision.max_fpr": 0.002,
        "data.validation_share": 0.1,
    },
}
"""Improvements: those that the report suggests, and those that address the actual causes. Each is
trained alone, then all together."""
SUGGESTED = ("5 epochs", "undersampling")
"""The suggestions of the report that change the model; the third is a GPU."""
TOGETHER = "all remedies together"
EXACT_NAME = "lbfgs head, mean pooling, no padding (tamis)"
EXACT: dict[str, Any] = {
    "train.head_solver": "lbfgs",
    "text.pooling": "mean",
    "text.padding": "none",
    "text.add_bos": True,
    "train.class_weight": "balanced",
}
RIVAL = "TF-IDF with logistic regression"


@dataclass(frozen=True)
class RemedyResults:
    """Figures on the test rows: of each remedy by name, and of TF-IDF."""

    remedies: dict[str, dict[str, Any]]
    rival: dict[str, Any]

    @property
    def alone(self) -> dict[str, dict[str, Any]]:
        """The remedies that were tried alone."""
        return {name: found for name, found in self.remedies.items() if name in REMEDIES}


def changes_of(name: str, *, classes: int = 2) -> dict[str, Any]:
    """The settings that a remedy changes. Only two classes have a false-positive rate; with more,
    nothing is left of the threshold.
    """
    if classes != 2:
        found = changes_of(name)
        limited = "decision.max_fpr" in found
        dropped = {"decision.max_fpr", "data.validation_share"} if limited else set()
        return {key: value for key, value in found.items() if key not in dropped}
    if name == TOGETHER:
        together: dict[str, Any] = {}
        for changes in REMEDIES.values():
            together |= changes
        return together
    return EXACT if name == EXACT_NAME else REMEDIES[name]


def try_remedies(
    table: Table, runner: Runner, recipe: Recipe, folder: OutputFolder, say: Say
) -> RemedyResults:
    """Train every remedy that `folder` does not have yet, and add the rows."""
    results: dict[str, dict[str, Any]] = {}
    classes = len(runner.split.table.classes)
    for name in (*REMEDIES, TOGETHER, EXACT_NAME):
        changes = changes_of(name, classes=classes)
        if not changes:
            table.add("remedy", name, "not tried: only for two classes")
            continue
        changed = recipe.changed(changes)

        def trained(name: str = name, changed: Recipe = changed) -> dict[str, Any]:
            say(f"Training remedy: {name}")
            return runner.test_figures(changed)

        results[name] = folder.once(f"remedy {name}", trained)
        table.add("remedy", name, figures_line(results[name]))
    rival = folder.once("rival", lambda: _rival(runner, recipe))
    table.add("rival", RIVAL, figures_line(rival))
    return RemedyResults(results, rival)


def _rival(runner: Runner, recipe: Recipe) -> dict[str, Any]:
    split = runner.split
    classes = sorted(set(split.labels("train")))
    found = fit_baselines(
        split.texts("train"), split.labels("train"), split.texts("test"), classes
    )["tfidf"]
    positive = runner.sought if len(classes) == 2 else None
    judged = figures(
        split.labels("test"), found.probabilities, classes, positive=positive, threshold=0.5
    )
    result: dict[str, Any] = json_safe(of_sought(judged, positive, runner.sought))
    return result
