"""The arguments of a classifier, and the recipe that they amount to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from tamis.config import Recipe
from tamis.estimator import ClassifierContract


class Arguments(ClassifierContract):
    """The part of TextClassifier that stores what it was asked for."""

    def __init__(
        self,
        backbone: str = "nano",
        tune: str = "auto",
        *,
        positive: str | None = None,
        class_weight: str | dict[str, float] = "none",
        max_blocked: float | None = None,
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
            positive: label that recall, precision and the threshold are about; the rarer one by default.
            class_weight: `none`, `balanced` or a weight by label.
            max_blocked: largest share of negatives that may be flagged; without it the threshold has the best F1.
            settings: any other setting of the recipe by name, such as `{"train.epochs": 3}`; they win over the arguments.
            seed: of everything random.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: processor threads; all cores by default.
            dtype: `fp32`, `bf16` or `auto` (the fastest measured here).
        """
        self.backbone = backbone
        self.tune = tune
        self.positive = positive
        self.class_weight = class_weight
        self.max_blocked = max_blocked
        self.settings = settings
        self.seed = seed
        self.device = device
        self.threads = threads
        self.dtype = dtype

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """A classifier, not fitted, with every setting of a recipe."""
        rest = {f"{s}.{k}": v for s in ("text", "train", "verdict", "data") for k, v in getattr(recipe, s).model_dump().items()}
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
            "verdict.max_blocked": self.max_blocked,
            "compute.device": self.device,
            "compute.threads": self.threads,
            "compute.dtype": self.dtype,
        }
        return Recipe().changed(arguments).changed(self.settings or {})
