"""Check a recipe against the training rows before anything long starts, and fill in its open
settings.

This module contains the rules for which settings need which classes. The values of open settings
come from training/defaults.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tamis.config import Recipe
from tamis.data.catalog import SOUGHT_LABELS
from tamis.data.splits import positive_label
from tamis.decision.fit_rule import check_decision_settings
from tamis.decision.prior import keeps_class_weights
from tamis.gpt2.backbones import EMBEDDED, is_scratch
from tamis.training.defaults import Defaults, attention_fallback, resolve_defaults, resolve_tune
from tamis.training.time_estimate import training_time


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with every setting resolved for its rows."""

    recipe: Recipe
    """resolved"""
    tune_reason: str
    """why its `tune` is what it is"""
    positive: str | None
    """the label that the threshold is about; None for more than two classes"""
    notes: list[str]
    """sentences to show before training"""


def check_rows(recipe: Recipe, labels: Sequence[str]) -> str | None:
    """Check the recipe against the training labels and return the positive label (None for more
    than two classes).

    Args:
        recipe: resolved or not.
        labels: (R,) labels of the training rows.

    Raises:
        ConfigError: the positive label does not occur; a setting needs two classes, or two settings
            contradict each other.
    """
    positive, classes = positive_label(labels, recipe.data.positive), len(set(labels))
    check_decision_settings(recipe.decision, classes)
    return positive if classes == 2 else None


def resolve_recipe(recipe: Recipe, texts: Sequence[str], labels: Sequence[str]) -> ResolvedRecipe:
    """Check a recipe and resolve its open settings.

    Args:
        recipe: device and threads are resolved already.
        texts: R training texts.
        labels: (R,) their labels.

    Raises:
        ConfigError: as `check_rows`, or two settings exclude each other.
    """
    positive = check_rows(recipe, labels)
    scoring = resolve_scoring(recipe, positive)
    found = scoring == "f1_macro" and recipe.decision.scoring == "auto"
    recipe = recipe.changed({"decision.scoring": scoring})
    pretrained, small, classes = (
        not is_scratch(recipe.backbone),
        recipe.backbone in EMBEDDED,
        len(set(labels)),
    )

    def resolved(tune: str) -> Recipe:
        return resolve_defaults(
            recipe.changed({"tune": tune}),
            pretrained=pretrained,
            rows=len(labels),
            classes=classes,
            small=small,
        )

    duration = (
        training_time(resolved("full"), texts, labels, positive)
        if recipe.tune == "auto" and small and pretrained
        else None
    )
    tune, reason = resolve_tune(
        recipe.tune,
        pretrained=pretrained,
        small=small,
        duration=duration,
        rows=math.inf if _asks_for_steps(recipe) else len(labels),
        classes=classes,
    )
    settled = resolved(tune)
    notes = _notes(recipe, classes)
    if found:
        notes.append(
            "decision.scoring = f1_macro (auto): no label says which class is looked for, so "
            "threshold and model are chosen by the mean F1 of both classes. To look for one class, "
            f"name it (data.positive, such as {positive!r})."
        )
    if recipe.tune == "auto" and pretrained and small and tune != "full":
        notes.append(f"tune = {tune} ({reason}).")
    if recipe.text.pooling == "attention" and (
        instead := attention_fallback(recipe.changed({"tune": tune}), pretrained=pretrained)
    ):
        read = (
            "layer and pooling are chosen by cross-validation"
            if instead[0] == "auto"
            else "mean pooling is used"
        )
        notes.append(f"text.pooling = attention is ignored: {instead[1]}; {read} instead.")
    return ResolvedRecipe(settled, reason, positive, notes)


def _asks_for_steps(recipe: Recipe) -> bool:
    """Return whether a setting is given that the training loop alone has."""
    return any(getattr(recipe.train, name) is not None for name in Defaults.__dataclass_fields__)


def resolve_scoring(recipe: Recipe, positive: str | None) -> str:
    """Return what `decision.scoring = auto` stands for; it stays `auto` for more than two classes.

    Where nobody says which class is looked for, both are worth the same, and the rarer one gets no
    more attention than the other.
    """
    asked = recipe.decision
    if asked.scoring != "auto" or positive is None:
        return asked.scoring
    one_class = (recipe.data.positive, asked.max_fpr, asked.costs) != (None, None, None)
    return "f1" if one_class or positive.lower() in SOUGHT_LABELS else "f1_macro"


def _notes(asked: Recipe, classes: int) -> list[str]:
    notes = []
    if classes > 2 and asked.data.positive is not None:
        notes.append(
            f"data.positive = {asked.data.positive!r} is ignored: the data have {classes} "
            "classes, and a positive class needs exactly two. To use it, give all other rows one "
            "common label."
        )
    if asked.train.adapt_teacher is not None and not asked.train.adapt_passes:
        notes.append(
            "train.adapt_teacher is ignored: train.adapt_passes is 0, so the backbone is not "
            "adapted to the training texts."
        )
    if keeps_class_weights(asked, classes):
        notes.append(
            "With more than two classes, class weights and undersampling also change the "
            "predictions: rare classes are predicted more often, and the probabilities apply to "
            "the weighted class shares, not to those of the rows. To avoid this, do not use them."
        )
    return notes
