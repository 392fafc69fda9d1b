"""What a report says about the recipe of a model."""

from __future__ import annotations

from typing import Any

from tamis.config import Recipe
from tamis.data.catalog import SOUGHT_LABELS


def recipe_facts(recipe: Recipe | None, positive: str | None, *, named: bool) -> dict[str, Any]:
    """Return keys of report.json that come from a recipe.

    Args:
        recipe: of the model; `decision.scoring` may be open if another program trained it. None:
            not known.
        positive: positive class of two classes.
        named: the user named this class for the evaluation, so it is looked for.

    Returns:
        `equal_worth` (neither of two classes is looked for), `max_fpr` (budget that the threshold
        was chosen for) and `robust` (the model undoes perturbations).
    """
    if recipe is None:
        return {"equal_worth": False, "max_fpr": None, "robust": False}
    scoring = recipe.decision.scoring
    sought = named or scoring == "f1" or recipe.data.positive is not None
    if scoring == "auto":
        sought = sought or str(positive).lower() in SOUGHT_LABELS
    return {
        "equal_worth": positive is not None and not sought,
        "max_fpr": recipe.decision.max_fpr,
        "robust": recipe.text.normalize == "robust",
    }
