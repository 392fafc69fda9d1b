"""Model selection: loss, accuracy and average precision on held-out rows, for early stopping.

These values only choose an epoch. Reported metrics come from metrics.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Scores:
    """Metrics on held-out rows."""

    loss: float
    """Mean cross-entropy in nats, unweighted."""
    accuracy: float
    average_precision: float | None
    """Two classes: of the positive class (by default, the rarer one). Otherwise: mean over classes,
    each against the others. None if a class is absent."""

    @property
    def merit(self) -> float:
        """The value that early stopping maximizes: average precision, rounded to three digits; the
        loss decides between equal values.
        """
        return (
            0.0 if self.average_precision is None else round(self.average_precision, 3)
        ) - 1e-4 * math.tanh(self.loss)

    def to_dict(self) -> dict[str, float | None]:
        """Convert to a dictionary."""
        return asdict(self)


def named_positive(requested: str | None, classes: Sequence[str]) -> int | None:
    """The class number of the requested positive label; None if there is none, or more than two
    classes.
    """
    return classes.index(requested) if requested in classes and len(classes) == 2 else None


def validate(logits: Tensor, targets: Tensor, positive: int | None = None) -> Scores:
    """Compute the metrics from logits (N, K) and class numbers (N,). `positive` is the number of
    the positive class of two, if one is given.
    """
    from sklearn.metrics import average_precision_score

    probabilities = logits.double().softmax(1)
    counts = torch.bincount(targets, minlength=logits.shape[1])
    present = [k for k in range(logits.shape[1]) if 0 < counts[k] < len(targets)]
    if logits.shape[1] == 2 and present:
        present = [int(counts.argmin()) if positive is None else positive]
    each = [
        float(average_precision_score((targets == k).numpy(), probabilities[:, k].numpy()))
        for k in present
    ]
    return Scores(
        loss=float(F.cross_entropy(logits.double(), targets)),
        accuracy=float((logits.argmax(1) == targets).double().mean()),
        average_precision=sum(each) / len(each) if each else None,
    )
