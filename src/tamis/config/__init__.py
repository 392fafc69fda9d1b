"""All settings of an experiment, with description, unit and default."""

from tamis.config.recipe import (
    Recipe,
    fields,
    find_setting,
    named_recipe,
    read_recipe,
    recipe_names,
)
from tamis.config.settings import (
    ComputeSettings,
    DataSettings,
    DecisionSettings,
    Section,
    Share,
    TextSettings,
    TrainSettings,
    parse_percent,
)

__all__ = [
    "ComputeSettings",
    "DataSettings",
    "DecisionSettings",
    "Recipe",
    "Section",
    "Share",
    "TextSettings",
    "TrainSettings",
    "fields",
    "find_setting",
    "named_recipe",
    "parse_percent",
    "read_recipe",
    "recipe_names",
]
