"""The parameters of a classifier, the recipe they define, and what a change of them means for a
classifier that is fitted already.

scikit-learn's clone, Pipeline and GridSearchCV read and set parameters by these methods.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.changes import Changes, ParameterSnapshot
from tamis.classifier.inputs import Texts, as_texts, column_names
from tamis.classifier.sklearn_contract import ClassifierContract
from tamis.classifier.targets import label_name, named_class_weights
from tamis.classifier.unknown_parameters import checked_parameters, unknown_parameter
from tamis.config import Recipe, find_setting
from tamis.decision.fit_rule import HeldOutScores
from tamis.decision.verdict import DecisionRule
from tamis.errors import ConfigError, DataError

NESTED = "settings__"
"""Prefix of a setting among the parameters: `settings__train__epochs` is `train.epochs`."""


class Parameters(ClassifierContract):
    """The parameters of TextClassifier, and the recipe they define."""

    rule_: DecisionRule
    positive_: str | None
    recipe_: Recipe
    held_out_: HeldOutScores | None

    @checked_parameters
    def __init__(
        self,
        backbone: str | Path = "nano",
        tune: str = "auto",
        *,
        positive: Any = None,
        class_weight: str | Mapping[Any, float] | None = None,
        max_fpr: float | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 42,
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
        device: str = "auto",
        threads: int | None = None,
        dtype: str = "fp32",
        verbose: bool = False,
    ) -> None:
        """Store the parameters; all work is done in `fit`.

        After `fit` or `load`, a change of `positive`, `max_fpr`, `device`, `threads` or `dtype`
        takes effect at the next prediction. Other parameters need a new `fit`; until then,
        predictions raise ConfigError, so that no answer contradicts the parameters.

        Args:
            backbone: a name (`nano` is included in the package) or a folder.
            tune: what is trained: `auto`, `head`, `blocks:K`, `lora:R` or `full`.
            positive: positive class for metrics, threshold and model selection (two classes only),
                in the type of the labels; the rarer one by default.
            class_weight: `balanced`, or weights by label, in the type of the labels. None or
                `none`: every row counts the same.
            max_fpr: maximum false positive rate of the threshold; without it the threshold has the
                best F1 (of both classes, if neither is looked for: `decision.scoring`).
            settings: further settings of the recipe by name, for example `{"train.epochs": 3}`.
                `set_params(settings__train__epochs=3)` sets a single one.
            seed: random seed.
            random_state: scikit-learn's name for the seed; it takes precedence over `seed`. A
                generator is not changed: the seed is drawn from a copy of it.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: CPU threads; all physical cores by default.
            dtype: `fp32`, `bf16`, `int8` or `auto` (the fastest one on this machine).
            verbose: show progress bars.
        """
        self.backbone = backbone
        self.tune = tune
        self.positive = positive
        self.class_weight = class_weight
        self.max_fpr = max_fpr
        self.settings = settings
        self.seed = seed
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.dtype = dtype
        self.verbose = verbose

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Return an unfitted classifier with all settings of a recipe."""
        usual = Recipe()
        own = {"data.positive", "train.class_weight", "decision.max_fpr"}
        rest = {
            f"{s}.{k}": v
            for s in ("text", "train", "decision", "data")
            for k, v in getattr(recipe, s).model_dump().items()
            if f"{s}.{k}" not in own and v != getattr(getattr(usual, s), k)
        }
        weight, compute = recipe.train.class_weight, recipe.compute
        return cls(
            recipe.backbone,
            recipe.tune,
            positive=recipe.data.positive,
            class_weight=None if weight == "none" else weight,
            max_fpr=recipe.decision.max_fpr,
            settings=rest or None,
            seed=recipe.seed,
            device=compute.device,
            threads=compute.threads,
            dtype=compute.dtype,
        )

    def recipe(self, classes: NDArray[Any] | None = None) -> Recipe:
        """Return the recipe that the parameters define, unresolved.

        Args:
            classes: (K,) labels that `positive` and `class_weight` refer to; by default those of a
                fitted classifier. They are compared by value: 1, 1.0 and True name the same class.

        Raises:
            ConfigError: a parameter or a setting is unknown or out of range, or one is given twice
                with different values.
        """
        known = getattr(self, "classes_", None) if classes is None else classes
        positive = self.positive
        given = {
            "backbone": str(self.backbone),
            "tune": self.tune,
            "seed": _seed(self.seed if self.random_state is None else self.random_state),
            "data.positive": None if positive is None else label_name(positive, known, "positive"),
            "train.class_weight": named_class_weights(self.class_weight, known),
            "decision.max_fpr": _plain(self.max_fpr),
            "compute.device": self.device,
            "compute.threads": _plain(self.threads),
            "compute.dtype": self.dtype,
        }
        recipe = Recipe().changed(given)
        settings = self._settings()
        if "data.positive" in settings and settings["data.positive"] is not None:
            named = label_name(settings["data.positive"], known, "data.positive")
            settings["data.positive"] = named
        if "train.class_weight" in settings:
            settings["train.class_weight"] = named_class_weights(
                settings["train.class_weight"], known
            )
        changed, usual = recipe.changed(settings), Recipe()
        for name in given.keys() & settings.keys():
            first, second = _value(recipe, name), _value(changed, name)
            if first not in (second, _value(usual, name)):
                raise ConfigError(
                    f"{name} is given twice, as a parameter ({first!r}) and in settings "
                    f"({second!r}); give it once"
                )
        return changed

    def _settings(self) -> dict[str, Any]:
        """`settings` by full name.

        Raises:
            ConfigError: they are no mapping, or a name is unknown or occurs twice.
        """
        if self.settings is None:
            return {}
        if not isinstance(self.settings, Mapping):
            raise ConfigError(
                "settings: expected a mapping such as {'train.epochs': 3}, got "
                f"{type(self.settings).__name__} ({self.settings!r:.60})"
            )
        found: dict[str, Any] = {}
        for name, value in self.settings.items():
            full = _full_name(str(name))
            if full in found:
                raise ConfigError(f"settings name {full} twice; give it once")
            found[full] = _plain(value)
        return found

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with `deep` also each of the `settings`, as
        `settings__train__epochs`.
        """
        found = {name: getattr(self, name) for name in self._parameters()}
        if deep and isinstance(self.settings, Mapping):
            for name, value in self.settings.items():
                found[NESTED + str(name).replace(".", "__")] = value
        return found

    def set_params(self, **params: Any) -> Self:
        """Set parameters, also of a fitted classifier (see `TextClassifier`), and single settings
        by `settings__train__epochs=3`.

        Raises:
            ConfigError: there is no parameter or setting of this name.
        """
        known = self._parameters()
        nested: dict[str, Any] = {}
        for name, value in params.items():
            if name.startswith(NESTED):
                nested[_full_name(name.removeprefix(NESTED).replace("__", "."))] = value
            elif name not in known:
                told = unknown_parameter(type(self).__name__, name, value, known)
                raise ConfigError(f"{told}, or a single one as {NESTED}train__epochs=3")
        for name, value in params.items():
            if name in known:
                setattr(self, name, value)
        if nested:
            self.settings = {**self._settings(), **nested}
        if self.__sklearn_is_fitted__():
            self._apply_changes(strict=False)
        return self

    def __repr__(self) -> str:
        """Return the call with every parameter that is not the default."""
        defaults = inspect.signature(type(self)).parameters
        changed = [
            f"{k}={v!r}"
            for k, v in self.get_params(deep=False).items()
            if not _same(v, defaults[k].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def _check_fitted(self) -> None:
        """Raise NotFittedError before `fit` or `load`, ConfigError where a parameter was changed
        that needs a new training.
        """
        super()._check_fitted()
        self._apply_changes(strict=True)

    def _checked(self, X: Texts) -> list[str]:
        """Return the texts as a list; raise as `_check_fitted`, or for another column than that of
        `fit`.
        """
        self._check_fitted()
        fitted, given = getattr(self, "feature_names_in_", None), column_names(X)
        if fitted is not None and given is not None and fitted[0] != given[0]:
            raise DataError(
                f"X: expected a DataFrame of the column that fit was given, {fitted[0]!r}, got "
                f"column {given[0]!r}; rename it, or pass the column itself"
            )
        return as_texts(X)

    def _note_column(self, X: Texts) -> None:
        """Keep the name of the column where X is a DataFrame, as scikit-learn does."""
        names = column_names(X)
        if names is not None:
            self.feature_names_in_ = names

    def _forget(self) -> None:
        """Drop every learned attribute: a fit that fails leaves nothing half old and half new."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _remember_parameters(self) -> None:
        """Note the parameters that the learned parts belong to."""
        self._snapshot_ = ParameterSnapshot(copy.deepcopy(self.get_params(False)), self.recipe())

    def _apply_changes(self, *, strict: bool) -> None:
        """Bring the learned parts up to date with parameters that were changed since.

        Args:
            strict: raise where a change needs a new training, or cannot be had.

        Raises:
            ConfigError: as `strict` says.
        """
        snapshot: ParameterSnapshot = self._snapshot_
        now = self.get_params(False)
        if all(_same(value, snapshot.params[name]) for name, value in now.items()):
            return
        try:
            found = Changes.between(snapshot, self.recipe())
            if found.training and strict:
                raise ConfigError(found.needs_training())
            if found.any:
                found.apply(self)
        except ConfigError:
            if strict:
                raise
            return
        if not found.training:
            self._remember_parameters()


def _seed(random_state: Any) -> Any:
    """A seed for the recipe, which checks it."""
    if isinstance(random_state, np.random.RandomState):
        return int(copy.deepcopy(random_state).randint(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(copy.deepcopy(random_state).integers(2**31))
    return _plain(random_state)


def _plain(value: Any) -> Any:
    """A NumPy scalar, such as grids of parameters hold, as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _same(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except (TypeError, ValueError):  # arrays, which no parameter may be
        return False


def _full_name(name: str) -> str:
    section, key = find_setting(name)
    return f"{section}.{key}" if section else key


def _value(recipe: Recipe, name: str) -> Any:
    section, _, key = name.rpartition(".")
    return getattr(getattr(recipe, section) if section else recipe, key)
