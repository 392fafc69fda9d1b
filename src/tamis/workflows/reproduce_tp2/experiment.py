"""`tamis reproduce tp2`: repeat the reference experiment, question by question, and compare
reported and obtained results; then train each improvement (remedy) alone and all together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.cache import cache_directory
from tamis.config import Recipe
from tamis.data.splits import DataSplit
from tamis.errors import ConfigError, DataError
from tamis.gpt2.backbones import Backbone, is_scratch, load_backbone, scratch_backbone
from tamis.gpt2.feature_cache import FeatureCache
from tamis.progress import Progress
from tamis.workflows.dataset import load_dataset
from tamis.workflows.environment import Say
from tamis.workflows.reproduce_tp2 import answers, reported, result_answers
from tamis.workflows.reproduce_tp2.backbone_rows import (
    checkpoint_rows,
    environment_rows,
    head_rows,
)
from tamis.workflows.reproduce_tp2.data_rows import DataFacts, data_facts, data_rows
from tamis.workflows.reproduce_tp2.lesson import Lesson
from tamis.workflows.reproduce_tp2.output_folder import PAGE, OutputFolder, opened, refuse_used
from tamis.workflows.reproduce_tp2.page import write_page
from tamis.workflows.reproduce_tp2.plots import Curves, write_plots
from tamis.workflows.reproduce_tp2.questions import QUESTIONS
from tamis.workflows.reproduce_tp2.remedies import try_remedies
from tamis.workflows.reproduce_tp2.result_rows import result_rows, training_rows
from tamis.workflows.reproduce_tp2.runner import Runner
from tamis.workflows.reproduce_tp2.table_rows import ANSWER, NOTE, Table
from tamis.workflows.reproduce_tp2.wording import percent

POSITIVE = "spam"
DEFAULT_OUT = Path("runs") / "tp2"


def reproduce_tp2(
    recipe: Recipe,
    data: str,
    *,
    out: Path = DEFAULT_OUT,
    remedies: bool = True,
    overwrite: bool = False,
    say: Say,
    progress: Progress | None = None,
) -> Lesson:
    """Answer questions 1 to 10 of the reference experiment, then train the improvements.

    An interrupted run goes on with the same arguments: finished trainings are not repeated.

    Args:
        recipe: the recipe `tp2`, with any backbone.
        data: file or name of a known data set.
        out: folder for `tp2.html`, `tp2.json` and the three plots of question 9.
        remedies: also train each improvement alone, all together, and the `lbfgs` head of tamis.
        overwrite: replace finished results in `out`, or an interrupted run with other settings.
        say: receives messages for the user.
        progress: receives progress updates.

    Raises:
        ConfigError: a setting leaves no training by steps, or no test rows.
        RunError: `out` cannot be used; its content is unchanged.
        TamisError: the data or the backbone cannot be loaded.
    """
    _check(recipe)
    refuse_used(out, overwrite=overwrite)
    dataset = load_dataset(data, recipe)
    for note in dataset.notes:
        say(note)
    split = dataset.split
    if not len(split.test):
        raise DataError(
            f"{dataset.name}: the split {split.name} leaves no test rows, and question 10 needs "
            "some; use the split tp2, or give a test file with --set data.test=FILE"
        )
    if POSITIVE in split.table.classes and len(split.table.classes) == 2:
        recipe = recipe.changed({"data.positive": POSITIVE})
    backbone = _backbone(recipe, split)
    advice = (reported.whole_file_advice(split, dataset.name), reported.backbone_advice(backbone))
    notes = [note for note in advice if note]
    for note in notes:
        say(note)
    again = load_dataset(data, recipe).split
    facts = data_facts(split, again, recipe, backbone.tokenizer)
    runner = Runner(split, facts.sought, FeatureCache(cache_directory() / "states"), progress)
    request = {"recipe": recipe.model_dump(mode="json"), "data": split.table.fingerprint}
    with opened(out, request, overwrite=overwrite) as folder:
        experiment = Experiment(recipe, dataset.name, backbone, facts, runner, folder)
        lesson = experiment.lesson(notes, remedies=remedies, say=say)
        plots = write_plots(folder.path, lesson.curves)
        write_page(folder.path / PAGE, lesson, plots)
        folder.finish(lesson.to_dict())
    say(f"Page with questions, answers and plots: {out / PAGE}")
    return lesson


@dataclass(frozen=True)
class Experiment:
    """Everything that the questions are answered from."""

    recipe: Recipe
    data: str
    backbone: Backbone
    facts: DataFacts
    runner: Runner
    folder: OutputFolder

    def lesson(self, notes: Sequence[str], *, remedies: bool, say: Say) -> Lesson:
        """Answer the questions in their order, then try the remedies."""
        table, facts, recipe = Table(), self.facts, self.recipe
        rows = sum(facts.rows.values())
        table.add(
            "all",
            "data",
            f"{rows} rows of {self.data}",
            f"{sum(reported.ROWS.values())} rows of the SMS Spam Collection",
            compare=False,
        )
        versions = environment_rows(table, recipe)
        found = checkpoint_rows(table, self.backbone)
        data_rows(table, facts)
        head = head_rows(table, self.backbone, found, len(facts.counts["train"]))
        trained = self.folder.once("reference", lambda: self._reference(say))
        training_rows(table, trained, recipe)
        result_rows(table, trained, facts)
        for note in notes:
            table.add("all", NOTE, note, compare=False)
        tried = try_remedies(table, self.runner, recipe, self.folder, say) if remedies else None
        said = {
            **answers.setup_answers(versions, head),
            **answers.data_answers(facts),
            "9": result_answers.training_answer(trained, facts, recipe),
            "10": result_answers.result_answer(trained, facts, recipe, tried, self._differences()),
        }
        for question in QUESTIONS:
            for key in question.keys:
                table.add(key, ANSWER, " ".join(said[key]), compare=False)
        return Lesson(
            data=self.data,
            backbone=self.backbone.name,
            rows=table.rows,
            answers=said,
            notes=notes,
            curves=self._curves(trained),
            cards=_cards(trained, facts),
            reference=trained["test"],
            remedies=tried,
        )

    def _reference(self, say: Say) -> dict[str, Any]:
        epochs = self.recipe.train.epochs or 1
        trained = "head and final LayerNorm" if self.recipe.tune == "head" else self.recipe.tune
        say(f"Training the reference: {epochs} epoch{'s' if epochs > 1 else ''}, {trained}")
        return self.runner.reference(self.recipe)

    def _differences(self) -> list[str]:
        found = []
        if self.facts.counts != reported.COUNTS:
            rows, all_rows = sum(self.facts.rows.values()), sum(reported.ROWS.values())
            found.append(f"the data ({rows:,} rows of {self.data}; the report has {all_rows:,})")
        if reported.backbone_advice(self.backbone):
            found.append(f"the backbone ({self.backbone.name} instead of GPT-2 124M)")
        return found

    def _curves(self, trained: dict[str, Any]) -> Curves:
        return Curves(
            trained["points"],
            trained["steps"],
            self.facts.sought,
            self.facts.majority,
            self.facts.majority_accuracy,
            len(self.facts.counts["train"]),
        )


def _check(recipe: Recipe) -> None:
    if recipe.tune == "head" and recipe.train.head_solver != "adamw":
        raise ConfigError(
            f"train.head_solver: expected adamw, got {recipe.train.head_solver!r}; question 9 is "
            "about a training in steps. The lbfgs head is tried in any case, after the remedies"
        )


def _backbone(recipe: Recipe, split: DataSplit) -> Backbone:
    if is_scratch(recipe.backbone):
        return scratch_backbone(recipe.backbone, split.texts("train"), seed=recipe.seed)
    return load_backbone(recipe.backbone)


def _cards(trained: dict[str, Any], facts: DataFacts) -> list[tuple[str, str, str]]:
    test = trained["test"]
    return [
        (f"Recall of {facts.sought}", percent(test["recall"]), "reported: 0 %"),
        ("Test accuracy", percent(test["accuracy"]), "reported: about 86 %"),
        (
            f"Always {facts.majority}",
            percent(facts.majority_accuracy),
            f"test accuracy; finds no {facts.sought}",
        ),
    ]
