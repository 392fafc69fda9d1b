"""Loss, accuracy and average precision on held-out rows: what early stopping looks at.

The figures that are reported come from `tamis.evaluation`; these are only for choosing an epoch.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Scores:
    """Figures on held-out rows."""

    loss: float
    """Mean cross-entropy, nats, unweighted."""
    accuracy: float
    average_precision: float | None
    """Of the positive class of two (the rarer if none is named), else mean over classes, one
    against the rest; None: one is absent."""

    @property
    def merit(self) -> float:
        """What early stopping maximises: average precision, the loss settling what is level to
        three digits.
        """
        return (
            0.0 if self.average_precision is None else round(self.average_precision, 3)
        ) - 1e-4 * math.tanh(self.loss)

    def to_dict(self) -> dict[str, float | None]:
        """The figures by name."""
        return asdict(self)


def named_positive(requested: str | None, classes: list[str]) -> int | None:
    """The class number of a positive label that was asked for; None where none was, or where there
    are more than two classes.
    """
    return classes.index(requested) if requested in classes and len(classes) == 2 else None


def validate(logits: Tensor, targets: Tensor, positive: int | None = None) -> Scores:
    """(N, K) logits and (N,) classes -> figures; `positive` is the class number of the positive
    class of two, where one is named.
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
