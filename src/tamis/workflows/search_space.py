"""Which settings a hyperparameter search tries, and from which ranges."""

from __future__ import annotations

from typing import Any, Protocol

from tamis.gpt2.backbones import is_scratch

DEPTHS = ("head", "blocks:1", "blocks:2", "lora:8", "full")


class Trial(Protocol):
    """The methods of an Optuna trial that suggest values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from a range."""
        ...

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """An integer from a range, both ends included."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of several values."""
        ...


def depths_of(backbone: str) -> tuple[str, ...]:
    """Values of `tune` to try. A backbone from scratch needs full training."""
    return ("full",) if is_scratch(backbone) else DEPTHS


def suggested(trial: Trial, backbone: str) -> dict[str, Any]:
    """Settings of one trial, by name. Each value of `tune` has its own search space, because a good
    learning rate for adapters is too high for a whole trunk.
    """
    depth = str(trial.suggest_categorical("tune", depths_of(backbone)))
    kind = depth.partition(":")[0]
    chosen: dict[str, Any] = {
        "tune": depth,
        "train.class_weight": trial.suggest_categorical(
            f"{kind}.class_weight", ("none", "balanced")
        ),
    }
    if kind == "head":
        return chosen | {
            "text.normalize": trial.suggest_categorical(
                "head.normalize", ("none", "nfkc", "robust")
            )
        }
    low, high = {"blocks": (3e-5, 2e-3), "lora": (1e-4, 5e-3), "full": (5e-5, 1e-3)}[kind]
    if is_scratch(backbone):
        low, high = 1e-4, 1e-2
    chosen |= {
        "train.learning_rate": trial.suggest_float(f"{kind}.learning_rate", low, high, log=True),
        "train.head_learning_rate": trial.suggest_float(
            f"{kind}.head_learning_rate", 3e-4, 3e-2, log=True
        ),
        "train.weight_decay": trial.suggest_float(f"{kind}.weight_decay", 1e-3, 0.3, log=True),
        "train.dropout": trial.suggest_float(f"{kind}.dropout", 0.0, 0.3),
        "train.label_smoothing": trial.suggest_float(f"{kind}.label_smoothing", 0.0, 0.1),
        "train.epochs": trial.suggest_int(f"{kind}.epochs", 2, 8),
    }
    return chosen
