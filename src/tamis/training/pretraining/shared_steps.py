"""The steps of a pretraining, shared by several processes. The first one has the corpus and the
teacher; the others get the texts of each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.training.distributed.channel import Arrays, balanced
from tamis.training.distributed.replica import (
    allocate,
    build_trunk,
    describe_trunk,
    dtype_name,
)
from tamis.training.distributed.team import SharedSteps, shared_steps
from tamis.training.pretraining.gradients import Counts, PretrainingGradients, StepTexts
from tamis.training.pretraining.losses import Student
from tamis.training.pretraining.recipe import ObjectiveSettings
from tamis.training.pretraining.sampled_softmax import Candidates

KIND = "pretraining"
"""Of the jobs here, for the other processes."""
CANDIDATES = ("pieces", "log_weight", "column")


def share_steps(gradients: PretrainingGradients, threads: int | None) -> PretrainingGradients:
    """Return gradients that all processes of the team compute together, or the same if this
    process is alone.

    Args:
        gradients: of this process.
        threads: of this machine, for all its processes together; None: torch's number.

    Raises:
        ConfigError: a GPU with a number was requested for several processes.
    """

    def describe() -> tuple[dict[str, Any], Arrays]:
        return describe_gradients(gradients)

    steps = shared_steps(gradients.student, describe, threads)
    return gradients if steps is None else SharedGradients(steps, gradients)


def describe_gradients(of: PretrainingGradients) -> tuple[dict[str, Any], Arrays]:
    """Return what another process needs to know besides the weights, as JSON and arrays."""
    student = of.student
    first_map = student.to_teacher
    return {
        "kind": KIND,
        "trunk": describe_trunk(student.trunk),
        "map": None if first_map is None else list(first_map.shape),
        "learn_map": isinstance(first_map, torch.nn.Parameter),
        "objective": of.objective.model_dump(mode="json"),
        "micro_batch_tokens": of.micro_batch_tokens,
        "autocast": None if of.autocast is None else dtype_name(of.autocast),
    }, {} if of.bank is None else {"bank": of.bank.cpu().numpy()}


class SharedGradients(PretrainingGradients):
    """Gradients that the processes of a team compute together; lives in the first one."""

    def __init__(self, steps: SharedSteps, own: PretrainingGradients) -> None:
        """Share the steps; `own` computes the part of this process."""
        self._steps, self._own = steps, own

    def add(self, step: StepTexts, rows: NDArray[np.int64], by: Counts) -> list[float]:
        """Set the gradients of the texts; otherwise as `PretrainingGradients.add`.

        Raises:
            DistributedError: another process failed or ended.
        """

        def own(places: NDArray[np.int64]) -> list[float]:
            return self._own.add(step, rows[places], by)

        shares = balanced(step.lengths[rows], self._steps.world)
        return self._steps.take({"by": asdict(by)}, to_arrays(step, rows), shares, own)


class PretrainingJob:
    """A pretraining in a process that is not the first."""

    def __init__(self, header: Mapping[str, Any], arrays: Arrays, device: torch.device) -> None:
        """Build what `describe_gradients` describes."""
        shape = header["map"]
        first_map = None if shape is None else torch.zeros(shape)
        student = Student(build_trunk(header["trunk"]), first_map, learn_map=header["learn_map"])
        allocate(student, header["weights"], device)
        self.network = student
        bank, autocast = arrays.get("bank"), header["autocast"]
        self.gradients = PretrainingGradients(
            student,
            ObjectiveSettings.model_validate(header["objective"]),
            micro_batch_tokens=header["micro_batch_tokens"],
            autocast=None if autocast is None else getattr(torch, autocast),
            bank=None if bank is None else torch.from_numpy(bank),
        )

    def compute(
        self, header: Mapping[str, Any], arrays: Arrays, rows: NDArray[np.int64]
    ) -> Sequence[float]:
        """Set the gradients of some texts; return their losses."""
        return self.gradients.add(from_arrays(arrays), rows, Counts(**header["by"]))


def to_arrays(step: StepTexts, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return some texts of a step as arrays that can be sent."""
    found: dict[str, NDArray[Any]] = {
        "lengths": step.lengths[rows],
        "inputs": np.concatenate([step.inputs[row] for row in rows]),
        "targets": np.concatenate([step.targets[row] for row in rows]),
        "sampled": np.concatenate([step.sampled[row] for row in rows]).astype(np.uint8),
        "distilled": step.distilled[rows].astype(np.uint8),
    }
    if step.vectors is not None:
        number = np.cumsum(step.distilled) - 1
        found["vectors"] = step.vectors[number[rows[step.distilled[rows]]]]
    if step.candidates is not None:
        found |= {name: getattr(step.candidates, name).cpu().numpy() for name in CANDIDATES}
    return found


def from_arrays(arrays: Arrays) -> StepTexts:
    """Return the texts of `to_arrays`, numbered from 0."""
    ends = np.cumsum(arrays["lengths"])[:-1]
    candidates = None
    if "pieces" in arrays:
        candidates = Candidates(*(torch.from_numpy(arrays[name]) for name in CANDIDATES))
    return StepTexts(
        np.split(arrays["inputs"], ends),
        np.split(arrays["targets"], ends),
        np.split(arrays["sampled"].astype(bool), ends),
        arrays["distilled"].astype(bool),
        arrays.get("vectors"),
        candidates,
    )
