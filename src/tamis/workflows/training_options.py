"""Options of a training: the keyword arguments of `tamis.train`, which are those of the command
line, and the recipe they define.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from tamis.config import Recipe, named_recipe
from tamis.errors import ConfigError

ROBUST: dict[str, Any] = {
    "text.normalize": "robust",
    "text.pooling": "attention",
    "train.augment_positives": 3.0,
    "train.augment_negatives": 1.0,
}
"""The settings of `--robust`. Options and `--set` override them."""


@dataclass(frozen=True)
class Extent:
    """How far a training goes."""

    quick: bool = False
    """stop after the quick model"""
    minutes: float | None = None
    """budget of the whole command; None: no limit"""

    def check(self, recipe: Recipe) -> None:
        """Check the extent with a recipe.

        Raises:
            ConfigError: the budget is no number above 0, or two wishes exclude each other.
        """
        if self.minutes is not None and self.quick:
            raise ConfigError(
                "quick and minutes exclude each other: the quick model takes as long as it takes; "
                "give one of them"
            )
        number = isinstance(self.minutes, int | float) and not isinstance(self.minutes, bool)
        if self.minutes is not None and not (number and 0 < self.minutes < math.inf):
            raise ConfigError(
                f"minutes: expected a number above 0, such as 5, got {self.minutes!r}"
            )
        if self.quick and recipe.tune not in ("auto", "head"):
            raise ConfigError(
                f"quick trains the head alone, but tune = {recipe.tune} was requested; give one "
                "of them"
            )


TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Names of `--log`; `training.trackers` has the trackers."""
_NAMES = {
    "backbone": "backbone",
    "tune": "tune",
    "seed": "seed",
    "split": "data.split",
    "test": "data.test",
    "exclude": "data.exclude",
    "text": "data.text",
    "label": "data.label",
    "positive": "data.positive",
    "class_weight": "train.class_weight",
    "max_fpr": "decision.max_fpr",
    "costs": "decision.costs",
    "prior": "decision.prior",
    "device": "compute.device",
    "threads": "compute.threads",
    "dtype": "compute.dtype",
}


class TrainingOptions(TypedDict, total=False):
    """Options of `tamis.train`; each is the option of `tamis train` with the same name."""

    backbone: str | Path
    tune: str
    robust: bool
    seed: int
    split: str
    test: str | Path
    exclude: str | Path
    text: str
    label: str
    positive: Any
    class_weight: str | Mapping[Any, float]
    max_fpr: float | str
    costs: str | Mapping[str, float]
    prior: float | str
    device: str
    threads: int
    dtype: str
    quick: bool
    minutes: float
    settings: Mapping[str, Any]
    """any setting by name, such as `{"train.epochs": 3}`; takes precedence"""


def training_recipe(base: Recipe | str | Path | None, options: Mapping[str, Any]) -> Recipe:
    """Return the recipe of options. Each source overrides those before it: defaults, `base` (a
    recipe, the name of an included one, or a TOML file), `robust`, options, `settings`.

    Raises:
        ConfigError: an option or a setting is unknown or out of range, or there is no such recipe.
    """
    known = TrainingOptions.__annotations__
    for name in options:
        if name not in known:
            raise ConfigError(
                f"train has no option {name!r}; its options are {', '.join(known)}; any other "
                "setting goes into settings={...}"
            )
    recipe = Recipe() if base is None else base if isinstance(base, Recipe) else named(base)
    given = {
        _NAMES[name]: _plain(name, value)
        for name, value in options.items()
        if name in _NAMES and value is not None
    }
    recipe = recipe.changed(ROBUST if options.get("robust") else {}).changed(given)
    return recipe.changed(options.get("settings") or {})


def named(base: str | Path) -> Recipe:
    """Read an included recipe by name, or a recipe file by path."""
    return named_recipe(str(base))


def _plain(name: str, value: Any) -> Any:
    """Paths and labels as text, as on the command line."""
    if name == "positive" or isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    return value
