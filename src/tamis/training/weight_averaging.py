"""Weights between the start of a training and its end, and how far back from the end held-out rows
want them.

What training made of a pretrained model is averaged with what it was before. The rows' labels may
be noise in part, which the end has learnt by heart and the start has not. Source: Wortsman et al.,
"Robust fine-tuning of zero-shot models", CVPR 2022, who choose the share on held-out rows as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from tamis.evaluation.model_selection import Scores

CANDIDATES = (0.25, 0.5)
"""Shares of the start that are tried beside none."""

Weights = Mapping[str, Tensor]


class Evaluator(Protocol):
    """The part of a `Training` that chooses."""

    level: float
    """Merits closer than this are level."""
    trained: dict[str, torch.nn.Parameter]
    """What is trained, by name."""
    best: dict[str, Tensor]
    """Copies of the same, as training left it."""

    def held_out_scores(self) -> Scores | None:
        """Of the validation rows with the weights as they are; None without such rows."""


def copy_weights(trained: Weights) -> dict[str, Tensor]:
    """The weights as they are now, apart from what becomes of them."""
    return {name: weights.detach().clone() for name, weights in trained.items()}


@torch.no_grad()
def interpolate(trained: Weights, start: Weights, share: float) -> None:
    """Move what was trained towards the start: `share` of it and 1 - share of what stands there."""
    for name, weights in trained.items():
        weights.lerp_(start[name], share)


def interpolate_by_validation(training: Evaluator, start: Weights) -> float:
    """Mix by the share with the best held-out merit, none where no share is ahead of it by more
    than is level; returns the share.
    """
    end = training.held_out_scores()
    if end is None:
        return 0.0
    best, merit = 0.0, end.merit + training.level
    for share in CANDIDATES:
        interpolate(training.trained, start, share)
        found = training.held_out_scores()
        if found is not None and found.merit > merit:
            best, merit = share, found.merit
        interpolate(training.trained, training.best, 1.0)
    if best:
        interpolate(training.trained, start, best)
    return best
