"""Weights between start and end: exact mixtures, and the share that held-out rows want, none where
it is no gain.
"""

from __future__ import annotations

import pytest
import torch

from tamis.evaluation.model_selection import Scores
from tamis.training.weight_averaging import (
    CANDIDATES,
    copy_weights,
    interpolate,
    interpolate_by_validation,
)


class Peaked:
    """Weights at 1, begun at 0, whose held-out average precision falls with their distance from
    `peak`.
    """

    def __init__(self, peak: float, *, level: float = 0.0, held_out: bool = True) -> None:
        self.trained = {
            "a": torch.nn.Parameter(torch.ones(3)),
            "b": torch.nn.Parameter(torch.ones(2, 2)),
        }
        self.best = copy_weights(self.trained)
        self.start = {name: torch.zeros_like(weights) for name, weights in self.trained.items()}
        self.peak, self.level, self.held_out = peak, level, held_out

    def held_out_scores(self) -> Scores | None:
        values = torch.cat([weights.detach().flatten() for weights in self.trained.values()])
        assert torch.all(values == values[0])
        return (
            Scores(1.0, 0.5, 0.9 - 0.4 * abs(float(values[0]) - self.peak))
            if self.held_out
            else None
        )

    @property
    def value(self) -> float:
        return float(self.trained["a"].detach()[0])


def test_a_mixture_by_hand() -> None:
    trained = {"a": torch.nn.Parameter(torch.tensor([1.0, -2.0]))}
    start = copy_weights(trained)
    with torch.no_grad():
        trained["a"].add_(4.0)
    assert start["a"].tolist() == [1.0, -2.0]  # a copy
    interpolate(trained, start, 0.25)
    assert trained["a"].tolist() == [4.0, 1.0] and trained["a"].requires_grad


@pytest.mark.parametrize(
    ("peak", "share"), [(1.0, 0.0), (0.75, 0.25), (0.7, 0.25), (0.5, 0.5), (0.0, 0.5), (0.9, 0.0)]
)
def test_the_share_is_the_one_that_held_out_rows_like_best(peak: float, share: float) -> None:
    training = Peaked(peak)
    assert (
        interpolate_by_validation(training, training.start) == share and training.value == 1 - share
    )


def test_what_is_level_stays_as_training_made_it() -> None:
    for level, share in ((0.09, 0.25), (0.11, 0.0)):  # a quarter is ahead by .1
        training = Peaked(0.75, level=level)
        assert interpolate_by_validation(training, training.start) == share


def test_without_held_out_rows_nothing_is_mixed() -> None:
    training = Peaked(0.5, held_out=False)
    assert interpolate_by_validation(training, training.start) == 0.0 and training.value == 1.0
    assert 0.0 not in CANDIDATES
