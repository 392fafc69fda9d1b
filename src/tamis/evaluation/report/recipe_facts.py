"""What a report says about the recipe of a model."""

from __future__ import annotations

from typing import TypedDict

from tamis.config import Recipe
from tamis.data.catalog import SOUGHT_LABELS


class RecipeFacts(TypedDict):
    """Fields of `ReportInputs`."""

    equal_worth: bool
    max_fpr: float | None
    robust: bool


def recipe_facts(recipe: Recipe, positive: str | None, *, named: bool = False) -> RecipeFacts:
    """Return the fields of `ReportInputs` that come from a recipe.

    Args:
        recipe: of the model; `decision.scoring` may be open if another program trained it.
        positive: positive class of two classes.
        named: the user named this class for the evaluation, so it is looked for.
    """
    scoring = recipe.decision.scoring
    sought = named or scoring == "f1" or recipe.data.positive is not None
    if scoring == "auto":
        sought = sought or str(positive).lower() in SOUGHT_LABELS
    return {
        "equal_worth": positive is not None and not sought,
        "max_fpr": recipe.decision.max_fpr,
        "robust": recipe.text.normalize == "robust",
    }
