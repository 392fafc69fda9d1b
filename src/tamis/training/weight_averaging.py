"""WiSE-FT: average the initial weights into the trained ones, with a share chosen on the validation
rows.

If some labels are wrong, the trained weights have memorized them and the initial ones have not.
Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
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
    """The part of a `Training` that the choice needs."""

    level: float
    """Merits closer than this are level."""
    trained: dict[str, torch.nn.Parameter]
    """What is trained, by name."""
    best: dict[str, Tensor]
    """Copies of the same, as training left it."""

    def held_out_scores(self) -> Scores | None:
        """Return the scores on the validation rows with the current weights; None without
        validation rows.
        """


def copy_weights(trained: Weights) -> dict[str, Tensor]:
    """Return copies of the current weights."""
    return {name: weights.detach().clone() for name, weights in trained.items()}


@torch.no_grad()
def interpolate(trained: Weights, start: Weights, share: float) -> None:
    """Set the weights to `share` of the initial ones plus 1 - `share` of the current ones."""
    for name, weights in trained.items():
        weights.lerp_(start[name], share)


def interpolate_by_validation(training: Evaluator, start: Weights) -> float:
    """Average with the share that has the best validation scores, and return it. The share is 0 if
    no other one is better by more than `level`.
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
