"""Training steps that several processes share.

The first process runs the command as if it were alone: it reads the data, evaluates, and writes all
files. Where its training loop takes a step, each process computes the gradients of a part of the
rows; the first one adds them up, moves the weights and sends them out with the next step. So the
others keep nothing: no data, no optimizer, no checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.compute import device as devices
from tamis.compute import torchrun
from tamis.compute.isolation import torch_threads
from tamis.errors import ConfigError
from tamis.text.windows import WindowAggregation
from tamis.training.distributed.channel import Arrays, Channel, balanced
from tamis.training.distributed.replica import (
    all_weights,
    build_model,
    build_settings,
    describe_model,
    describe_settings,
)
from tamis.training.distributed.step_batch import from_arrays, to_arrays
from tamis.training.gradients import Divisors, Gradients, StepRows
from tamis.training.loop import Training

_TEAM: ContextVar[Channel | None] = ContextVar("team", default=None)


@contextmanager
def team() -> Iterator[bool]:
    """Share the training steps of the block with the processes that torchrun started.

    Yields True in the first process, or without torchrun: it does the work of the block. Yields
    False in the others, after they have worked for the first one; there is nothing left to do.

    Raises:
        DistributedError: another process failed or ended.
    """
    if torchrun.world_size() == 1:
        yield True
        return
    channel = Channel()
    if channel.rank:
        _work(channel)
        channel.close()
        yield False
        return
    token = _TEAM.set(channel)
    try:
        yield True
    finally:
        _TEAM.reset(token)
        if channel.whole:
            channel.announce({"do": "end"})
        channel.close()


def shared(training: Training, threads: int | None) -> None:
    """Let the processes of the team compute the gradients of a training, if there is a team.

    Args:
        training: its state counts the processes.
        threads: of this machine, for all its processes together.

    Raises:
        ConfigError: a GPU with a number was requested for several processes.
    """
    channel, numbers = _TEAM.get(), training.at.processes
    world = 1 if channel is None else channel.world
    if world > 1 or numbers:
        training.at.processes = numbers if numbers[-1:] == [world] else [*numbers, world]
    if channel is None:
        return
    device = training.device
    if device.type == "cuda" and device.index not in (None, torchrun.local_rank()):
        raise ConfigError(
            f"compute.device = {device}: with several processes each takes the GPU of its own "
            "number; use --device cuda, and choose GPUs with CUDA_VISIBLE_DEVICES"
        )
    training.gradients = SharedGradients(channel, training, threads)


class SharedGradients(Gradients):
    """Gradients that the processes of a team compute together; lives in the first one."""

    def __init__(self, channel: Channel, training: Training, threads: int | None) -> None:
        """The others get the model with the first step."""
        super().__init__(training.model, training.settings, training.weights)
        self._channel, self._threads = channel, threads
        self._trained = list(training.trained.values())
        self._begun = False

    def add(self, data: StepRows, rows: NDArray[np.int64], by: Divisors) -> tuple[float, int]:
        """Set the gradients of all rows; otherwise as `Gradients.add`.

        Raises:
            DistributedError: another process failed or ended.
        """
        channel = self._channel
        with channel.together():
            if not self._begun:
                self._begin(data)
                self._begun = True
            arrays = to_arrays(data, rows)
            # From the generator whose state is in the checkpoint.
            seed = int(torch.randint(2**31, ()))
            channel.announce({"do": "step", "by": asdict(by), "seed": seed}, arrays)
            channel.spread(self._trained)
            mine = balanced(data.states.messages.tokens[rows], channel.world)[0]
            threads = torch.get_num_threads() if self._threads is None else self._threads
            with torch_threads(torchrun.thread_share(threads)):
                return _step(
                    channel,
                    lambda: super(SharedGradients, self).add(data, rows[mine], by),
                    self._trained,
                )

    def _begin(self, data: StepRows) -> None:
        """Send the model and what does not change from step to step."""
        states, threads = data.states, self._threads
        self._channel.announce(
            {
                "do": "job",
                "model": describe_model(self.model),
                "settings": describe_settings(self.settings),
                "class_weights": self.class_weights.tolist(),
                "device": self.device.type,
                "threads": torch.get_num_threads() if threads is None else threads,
                "start": states.start,
                "whole": states.whole,
                "aggregation": asdict(states.messages.aggregation),
            }
        )
        self._channel.report()
        self._channel.use(self.device)
        self._channel.spread(all_weights(self.model))


class _Job:
    """A training in a process that is not the first."""

    def __init__(self, header: dict[str, Any]) -> None:
        """Build the model on the device of this process.

        Raises:
            ConfigError: this machine has no such device.
        """
        kind = header["device"]
        name = f"cuda:{torchrun.local_rank()}" if kind == "cuda" else kind
        threads = torchrun.thread_share(header["threads"])
        devices.apply(devices.resolve(name, threads))
        self.device = torch.device(name)
        model = build_model(header["model"], self.device)
        weights = torch.tensor(header["class_weights"])
        self.gradients = Gradients(model, build_settings(header["settings"]), weights)
        self.weights = all_weights(model)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.start, self.whole = header["start"], header["whole"]
        self.aggregation = WindowAggregation(**header["aggregation"])

    def step(self, channel: Channel, header: dict[str, Any], arrays: Arrays) -> None:
        """Compute the gradients of this process's part of a step."""
        channel.spread(self.trained)

        def compute() -> tuple[float, int]:
            torch.manual_seed(header["seed"] + channel.rank)
            for parameter in self.trained:
                parameter.grad = None
            data = from_arrays(
                arrays, start=self.start, whole=self.whole, aggregation=self.aggregation
            )
            mine = balanced(data.states.messages.tokens, channel.world)[channel.rank]
            return self.gradients.add(data, mine, Divisors(**header["by"]))

        _step(channel, compute, self.trained)


def _step(
    channel: Channel,
    compute: Callable[[], tuple[float, int]],
    trained: Sequence[torch.nn.Parameter],
) -> tuple[float, int]:
    """Compute a part of a step and add it up with those of the others, in the first process.

    Returns:
        The sum of the losses of all processes, in the order of their numbers, and of what is right.
    """
    found: tuple[float, int] = 0.0, 0
    error = None
    try:
        found = compute()
    except Exception as raised:
        error = raised
    bits = "".join("0" if parameter.grad is None else "1" for parameter in trained)
    reports = channel.report([*found, hex(int(bits or "0", 2))], error)
    mask = 0
    for _, _, some in reports:
        mask |= int(some, 16)
    # A weight without a gradient in any process has none afterwards: weight decay leaves it alone.
    moved: list[Tensor] = []
    for bit, parameter in zip(f"{mask:0{len(trained)}b}", trained, strict=True):
        if bit == "1":
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            moved.append(parameter.grad)
    channel.gather_sums(moved)
    return sum(loss for loss, _, _ in reports), sum(right for _, right, _ in reports)


def _work(channel: Channel) -> None:
    """Work for the first process until it ends.

    Raises:
        DistributedError: it ended without saying so.
    """
    job: _Job | None = None
    while True:
        header, arrays = channel.listen()
        if header["do"] == "end":
            return
        try:
            with channel.together():
                if header["do"] == "job":
                    job = _begun(channel, header)
                elif job is not None:
                    job.step(channel, header, arrays)
        except Exception:
            if not channel.whole:
                raise
            # The first process has heard of it, and says what comes next.


def _begun(channel: Channel, header: dict[str, Any]) -> _Job:
    """Take over a job; the others are told where it fails."""
    job, error = None, None
    try:
        job = _Job(header)
    except Exception as raised:
        error = raised
    channel.report(error=error)
    assert job is not None
    channel.use(job.device)
    channel.spread(job.weights)
    return job
