"""What a process does that torchrun started beside the first one: the steps of any training."""

from __future__ import annotations

from tamis.training import shared_steps as classifier
from tamis.training.distributed import team
from tamis.training.pretraining import shared_steps as pretraining


def follow() -> None:
    """Work for the first process until it ends.

    Raises:
        DistributedError: it ended without saying so.
    """
    team.follow(
        {
            classifier.KIND: classifier.ClassifierJob,
            pretraining.KIND: pretraining.PretrainingJob,
        }
    )
