"""The arguments of a classifier, the recipe that they amount to, and scikit-learn's contract
without importing scikit-learn.

That import takes longer than a verdict from a cold start. Parameters are the arguments of
`__init__`; clone, Pipeline and cross_val_score know an estimator by these methods and its tags.
Source: https://scikit-learn.org/stable/developers/develop.html (duck typing is allowed on purpose).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from tamis.config import Recipe
from tamis.errors import ConfigError


class ClassifierContract:
    """What scikit-learn asks of a classifier besides fit, predict and predict_proba."""

    @classmethod
    def _parameters(cls) -> list[str]:
        return list(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of `__init__` as they are now; `deep` changes nothing, there are no
        estimators inside.
        """
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        """Set arguments of `__init__`.

        Raises:
            ConfigError: a name is not one of them.
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
        """Share of right labels, scikit-learn's default figure for classifiers; with imbalance ask
        for another `scoring`.
        """
        right = np.asarray(self.predict(X)) == np.asarray(y)  # type: ignore[attr-defined]
        return float(np.average(right, weights=sample_weight))

    def __repr__(self) -> str:
        """The call with every argument that is not the default."""
        defaults = inspect.signature(type(self)).parameters
        changed = [
            f"{k}={v!r}"
            for k, v in self.get_params().items()
            if v is not defaults[k].default and v != defaults[k].default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """Tags as scikit-learn gives them to any classifier."""
        from sklearn.base import BaseEstimator, ClassifierMixin

        class AnyClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
            pass

        return AnyClassifier().__sklearn_tags__()


class Arguments(ClassifierContract):
    """The part of TextClassifier that stores what it was asked for."""

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
        """Store the arguments; nothing happens before `fit`.

        Args:
            backbone: a name (`nano` is inside the package), or a folder.
            tune: `auto`, `head`, `blocks:K`, `lora:R` or `full`.
            positive: label that recall, precision and the threshold are about; the rarer one by
                default.
            class_weight: `none`, `balanced` or a weight by label.
            max_fpr: largest share of negatives that may be flagged; without it the threshold has
                the best F1.
            settings: any other setting of the recipe by name, such as `{"train.epochs": 3}`; they
                win over the arguments.
            seed: of everything random.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: processor threads; all cores by default.
            dtype: `fp32`, `bf16` or `auto` (the fastest measured here).
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
        """A classifier, not fitted, with every setting of a recipe."""
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
        """The recipe that the arguments amount to, unresolved.

        Raises:
            ConfigError: an argument or a setting is unknown or out of range.
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
