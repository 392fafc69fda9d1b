"""The steps of a classifier's training, shared by several processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.compute import torchrun
from tamis.gpt2.model import GPT2Classifier
from tamis.text.windows import WindowAggregation
from tamis.training.distributed.channel import Arrays, balanced
from tamis.training.distributed.replica import (
    allocate,
    build_trunk,
    describe_trunk,
    dtype_name,
)
from tamis.training.distributed.team import SharedSteps, counted, shared_steps
from tamis.training.gradients import Divisors, Gradients, Part, StepRows
from tamis.training.loop import Training
from tamis.training.state import LoopSettings
from tamis.training.step_batch import from_arrays, to_arrays

KIND = "classifier"
"""Of the jobs here, for the other processes."""
PART = "part"
"""Name of the array that tells which part of a step each of its rows belongs to."""


def share(training: Training, threads: int | None) -> None:
    """Let all processes of the team compute the gradients of a training, if there is a team.

    Args:
        training: its state notes the number of processes.
        threads: of this machine, for all its processes together.

    Raises:
        ConfigError: a GPU with a number was requested for several processes.
    """
    training.at.processes = counted(training.at.processes)

    def describe() -> tuple[dict[str, Any], Arrays]:
        return describe_training(training)

    steps = shared_steps(training.model, describe, threads)
    if steps is not None:
        training.gradients = SharedGradients(steps, training)


def describe_training(training: Training) -> tuple[dict[str, Any], Arrays]:
    """Return what another process needs to know of a training besides its weights, as JSON and
    arrays.
    """
    settings, states = training.settings, training.states
    autocast = None if settings.autocast is None else dtype_name(settings.autocast)
    return {
        "kind": KIND,
        "trunk": describe_trunk(training.model.transformer),
        "classes": len(training.weights),
        "settings": asdict(settings) | {"autocast": autocast},
        "start": states.start,
        "whole": states.whole,
        "aggregation": asdict(states.messages.aggregation),
    }, {"class_weights": training.weights.numpy()}


class SharedGradients(Gradients):
    """Gradients that the processes of a team compute together; lives in the first one."""

    def __init__(self, steps: SharedSteps, training: Training) -> None:
        """Share the steps of `training`."""
        super().__init__(training.model, training.settings, training.weights)
        self._steps = steps

    def add(self, data: StepRows, rows: NDArray[np.int64], by: Divisors) -> tuple[float, int]:
        """Set the gradients of all rows; otherwise as `Gradients.add`.

        Raises:
            DistributedError: another process failed or ended.
        """
        if self.has_parts(data) and self.draws():
            return self._add_whole_parts(data, rows, by)

        def own(places: NDArray[np.int64]) -> tuple[float, int]:
            return super(SharedGradients, self).add(data, rows[places], by)

        shares = balanced(data.states.messages.tokens[rows], self._steps.world)
        # Drawn from the generator whose state is in the checkpoint.
        header = {"by": asdict(by), "seed": int(torch.randint(2**31, ()))}
        loss_sum, right = self._steps.take(header, to_arrays(data, rows), shares, own)
        return loss_sum, int(right)

    def _add_whole_parts(
        self, data: StepRows, rows: NDArray[np.int64], by: Divisors
    ) -> tuple[float, int]:
        """`add` where rows draw at random: each part is computed by one process, with the random
        numbers that it has with any number of processes.
        """
        tokens, world = data.states.messages.tokens, self._steps.world
        parts = self.parts(data, rows, world)
        ordered = np.concatenate([part.rows for part in parts])
        part_of = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
        loads = np.array([int(tokens[part.rows].sum()) for part in parts])
        shares = [np.flatnonzero(np.isin(part_of, own)) for own in balanced(loads, world)]
        described = [(part.batch, part.number) for part in parts]

        def own(places: NDArray[np.int64]) -> tuple[float, int]:
            return self.add_parts(data, _parts_of(described, part_of[places], ordered[places]), by)

        header = {"by": asdict(by), "parts": described}
        arrays = {**to_arrays(data, ordered), PART: part_of}
        loss_sum, right = self._steps.take(header, arrays, shares, own)
        return loss_sum, int(right)


class ClassifierJob:
    """A classifier's training in a process that is not the first."""

    def __init__(self, header: Mapping[str, Any], arrays: Arrays, device: torch.device) -> None:
        """Build what `describe_training` describes."""
        model = GPT2Classifier(build_trunk(header["trunk"]), header["classes"])
        allocate(model, header["weights"], device)
        self.network = model.train()
        settings = dict(header["settings"])
        if settings["autocast"] is not None:
            settings["autocast"] = getattr(torch, settings["autocast"])
        weights = torch.from_numpy(arrays["class_weights"])
        self.gradients = Gradients(model, LoopSettings(**settings), weights)
        self.start, self.whole = header["start"], header["whole"]
        self.aggregation = WindowAggregation(**header["aggregation"])

    def compute(
        self, header: Mapping[str, Any], arrays: Arrays, rows: NDArray[np.int64]
    ) -> Sequence[float]:
        """Set the gradients of rows; return the sum of their losses, and how many are right."""
        data = from_arrays(arrays, start=self.start, whole=self.whole, aggregation=self.aggregation)
        by = Divisors(**header["by"])
        if "parts" in header:
            own = _parts_of(header["parts"], arrays[PART][rows], rows)
            return self.gradients.add_parts(data, own, by)
        torch.manual_seed(header["seed"] + torchrun.rank())
        return self.gradients.add(data, rows, by)


def _parts_of(
    described: Sequence[Sequence[int]], part_of: NDArray[np.int64], rows: NDArray[np.int64]
) -> list[Part]:
    """Return the parts that some rows form.

    Args:
        described: micro-batch and number of each part of the step.
        part_of: (R,) the part of each row, ascending.
        rows: (R,) their numbers.
    """
    return [
        Part(rows[part_of == place], *described[place]) for place in np.unique(part_of).tolist()
    ]
