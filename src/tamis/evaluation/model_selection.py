"""Model selection: loss, accuracy, and average precision or macro F1 on held-out rows.

These values only choose an epoch, a penalty or an average of weights. Reported metrics
come from metrics.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tamis.config import Recipe
from tamis.decision.macro_f1 import best_macro_f1


@dataclass(frozen=True)
class Selection:
    """What models are compared by."""

    positive: int | None = None
    """Class number of the positive class of two; None: the rarer one, or more than two classes."""
    macro_f1: bool = False
    """By macro F1 (`decision.scoring = "f1_macro"`); otherwise by average precision."""

    def level(self, counts: NDArray[np.int64]) -> float:
        """Return the difference below which two models are level: half a row of the positive class,
        or of the rarest.

        Args:
            counts: (K,) rows of each class that the models are compared on.
        """
        decisive = counts if self.positive is None or self.macro_f1 else counts[[self.positive]]
        # A row changes the F1 of its class, which is one of K in the mean.
        worth = 1.0 / len(counts) if self.macro_f1 else 1.0
        return float(0.5 * worth / decisive[decisive > 0].min()) if decisive.any() else 0.0


BY_PRECISION = Selection()


@dataclass(frozen=True)
class Scores:
    """Metrics on held-out rows."""

    loss: float
    """Mean cross-entropy in nats, unweighted."""
    accuracy: float
    average_precision: float | None
    """Two classes: of the positive class (by default, the rarer one). Otherwise: mean over classes,
    each against the others. None if a class is absent."""
    macro_f1: float | None = None
    """Mean F1 of the classes, if models are compared by it: of two classes with the best threshold
    on these rows, of more that of the most probable class. None also if a class of two is
    absent."""
    by_macro_f1: bool = False
    """Whether models are compared by it."""

    @property
    def merit(self) -> float:
        """The value that is maximized: average precision or macro F1, rounded to three digits; the
        loss decides between equal values.
        """
        value = self.macro_f1 if self.by_macro_f1 else self.average_precision
        return (0.0 if value is None else round(value, 3)) - 1e-4 * math.tanh(self.loss)

    def to_dict(self) -> dict[str, float | None]:
        """Convert to a dictionary."""
        found = asdict(self)
        if not found.pop("by_macro_f1"):
            del found["macro_f1"]
        return found


def selection_of(recipe: Recipe, classes: Sequence[str]) -> Selection:
    """Return how a resolved recipe compares models of these classes."""
    return Selection(
        named_positive(recipe.data.positive, classes), recipe.decision.scoring == "f1_macro"
    )


def named_positive(requested: str | None, classes: Sequence[str]) -> int | None:
    """The class number of the requested positive label; None if there is none, or more than two
    classes.
    """
    return classes.index(requested) if requested in classes and len(classes) == 2 else None


def validate(logits: Tensor, targets: Tensor, selection: Selection = BY_PRECISION) -> Scores:
    """Compute the metrics from logits (N, K) and class numbers (N,)."""
    from sklearn.metrics import average_precision_score

    probabilities = logits.double().softmax(1)
    counts = torch.bincount(targets, minlength=logits.shape[1])
    present = [k for k in range(logits.shape[1]) if 0 < counts[k] < len(targets)]
    if logits.shape[1] == 2 and present:
        present = [int(counts.argmin()) if selection.positive is None else selection.positive]
    each = [
        float(average_precision_score((targets == k).numpy(), probabilities[:, k].numpy()))
        for k in present
    ]
    return Scores(
        loss=float(F.cross_entropy(logits.double(), targets)),
        accuracy=float((logits.argmax(1) == targets).double().mean()),
        average_precision=sum(each) / len(each) if each else None,
        macro_f1=_macro_f1(probabilities, targets) if selection.macro_f1 else None,
        by_macro_f1=selection.macro_f1,
    )


def _macro_f1(probabilities: Tensor, targets: Tensor) -> float | None:
    from sklearn.metrics import f1_score

    classes = torch.bincount(targets).nonzero().flatten()
    if probabilities.shape[1] == 2:
        if len(classes) < 2:
            return None
        return best_macro_f1(probabilities[:, 1].numpy(), (targets == 1).numpy())
    predicted = probabilities.argmax(1)
    return float(f1_score(targets, predicted, labels=classes, average="macro", zero_division=0.0))
