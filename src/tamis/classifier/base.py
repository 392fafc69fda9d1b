"""Parameters of a classifier, the recipe they define, and scikit-learn's contract without importing
scikit-learn.

Importing scikit-learn takes longer than one prediction from a cold start. Parameters are the
arguments of `__init__`; clone, Pipeline and cross_val_score use these methods and the tags. Source:
https://scikit-learn.org/stable/developers/develop.html (duck typing is allowed).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from tamis.classifier.inputs import as_texts
from tamis.config import Recipe
from tamis.errors import ConfigError, NotFittedError


class ClassifierContract:
    """What scikit-learn expects of a classifier besides fit, predict and predict_proba."""

    @classmethod
    def _parameters(cls) -> list[str]:
        return list(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; `deep` has no effect."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters.

        Raises:
            ConfigError: there is no parameter of this name.
        """
        known = self._parameters()
        unknown = [name for name in params if name not in known]
        if unknown:
            raise ConfigError(
                f"{type(self).__name__} has no parameter {unknown[0]!r}; its parameters are "
                f"{', '.join(known)}"
            )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, scikit-learn's default metric; choose another `scoring` for
        imbalanced classes.
        """
        right = np.asarray(self.predict(X)) == np.asarray(y)  # type: ignore[attr-defined]
        return float(np.average(right, weights=sample_weight))

    def __repr__(self) -> str:
        """Return the call with every parameter that is not the default."""
        defaults = inspect.signature(type(self)).parameters
        changed = [
            f"{k}={v!r}"
            for k, v in self.get_params().items()
            if v is not defaults[k].default and v != defaults[k].default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` or `load` was successful."""
        return hasattr(self, "classes_")

    def _check_fitted(self) -> None:
        """Raise NotFittedError before `fit` or `load`."""
        if not self.__sklearn_is_fitted__():
            name = type(self).__name__
            raise NotFittedError(
                f"this {name} is not fitted yet; call fit(texts, labels) or {name}.load(folder) "
                "first"
            )

    def _checked(self, texts: Iterable[str]) -> tuple[list[str], bool]:
        """Return the texts as a list, and whether a single one was given; raise before `fit`."""
        self._check_fitted()
        return as_texts(texts)

    def _forget(self) -> None:
        """Drop every learned attribute: a fit that fails leaves nothing half old and half new."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags of a classifier."""
        from sklearn.base import BaseEstimator, ClassifierMixin

        class AnyClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
            pass

        return AnyClassifier().__sklearn_tags__()


class Parameters(ClassifierContract):
    """The parameters of TextClassifier, and the recipe they define."""

    def __init__(
        self,
        backbone: str = "nano",
        tune: str = "auto",
        *,
        positive: str | None = None,
        class_weight: str | dict[str, float] = "none",
        max_fpr: float | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 42,
        device: str = "auto",
        threads: int | None = None,
        dtype: str = "fp32",
    ) -> None:
        """Store the parameters; all work is done in `fit`.

        Args:
            backbone: a name (`nano` is included in the package) or a folder.
            tune: what is trained: `auto`, `head`, `blocks:K`, `lora:R` or `full`.
            positive: positive class for metrics, threshold and model selection (two classes only);
                the rarer one by default.
            class_weight: `none`, `balanced` or weights by label.
            max_fpr: maximum false positive rate of the threshold; without it the threshold has the
                best F1.
            settings: further settings of the recipe by name, for example `{"train.epochs": 3}`;
                they take precedence over the other parameters.
            seed: random seed.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: CPU threads; all physical cores by default.
            dtype: `fp32`, `bf16`, `int8` or `auto` (the fastest one on this machine).
        """
        self.backbone = backbone
        self.tune = tune
        self.positive = positive
        self.class_weight = class_weight
        self.max_fpr = max_fpr
        self.settings = settings
        self.seed = seed
        self.device = device
        self.threads = threads
        self.dtype = dtype

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Return an unfitted classifier with all settings of a recipe."""
        rest = {
            f"{s}.{k}": v
            for s in ("text", "train", "decision", "data")
            for k, v in getattr(recipe, s).model_dump().items()
        }
        compute = recipe.compute
        return cls(
            recipe.backbone,
            recipe.tune,
            seed=recipe.seed,
            settings=rest,
            device=compute.device,
            threads=compute.threads,
            dtype=compute.dtype,
        )

    def recipe(self) -> Recipe:
        """Return the recipe that the parameters define, unresolved.

        Raises:
            ConfigError: a parameter or a setting is unknown or out of range.
        """
        arguments = {
            "backbone": str(self.backbone),
            "tune": self.tune,
            "seed": self.seed,
            "data.positive": None if self.positive is None else str(self.positive),
            "train.class_weight": self.class_weight,
            "decision.max_fpr": self.max_fpr,
            "compute.device": self.device,
            "compute.threads": self.threads,
            "compute.dtype": self.dtype,
        }
        return Recipe().changed(arguments).changed(self.settings or {})
