"""Processes that share the steps of a training.

The first process runs the command as if it were alone: it reads the data, evaluates, and writes all
files. Where a training takes a step, each process computes the gradients of a part of the rows; the
first one adds them up, moves the weights and sends them out with the next step. So the others keep
nothing: no data, no optimizer, no checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.compute import device as devices
from tamis.compute import torchrun
from tamis.compute.isolation import torch_threads
from tamis.errors import ConfigError, DistributedError
from tamis.training.distributed.channel import Arrays, Channel
from tamis.training.distributed.replica import all_weights, describe_weights

_TEAM: ContextVar[Channel | None] = ContextVar("team", default=None)
SHARE = "process"
"""Name of the array that tells which process computes each row of a step."""


class Job(Protocol):
    """A training as a process sees it that computes gradients for the first one."""

    @property
    def network(self) -> torch.nn.Module:
        """What is trained."""
        ...

    def compute(
        self, header: Mapping[str, Any], arrays: Arrays, rows: NDArray[np.int64]
    ) -> Sequence[float]:
        """Set the gradients of some rows of a step; return their sums, such as that of the
        losses.
        """
        ...


Build = Callable[[Mapping[str, Any], Arrays, torch.device], Job]
"""Builds a job from its description."""


@contextmanager
def team() -> Iterator[None]:
    """Share the training steps of the block with the other processes that torchrun started, which
    `follow`. Without torchrun nothing is shared.

    Raises:
        DistributedError: another process failed or ended.
    """
    if torchrun.world_size() == 1:
        yield
        return
    channel = Channel()
    token = _TEAM.set(channel)
    try:
        yield
    finally:
        _TEAM.reset(token)
        with suppress(DistributedError):  # one that has ended already, on Ctrl-C or at the end
            if channel.whole:
                channel.announce({"do": "end"})
        channel.close()


def follow(builders: Mapping[str, Build]) -> None:
    """Work for the first process until its block ends; `builders` build jobs, by their kind.

    Raises:
        DistributedError: it ended without saying so.
    """
    channel = Channel()
    _work(channel, builders)
    channel.close()


def counted(before: list[int]) -> list[int]:
    """Return how many processes share the steps of a training, one number after the other.

    Args:
        before: the numbers so far, of a training that goes on; none where it was always one.
    """
    channel = _TEAM.get()
    world = 1 if channel is None else channel.world
    return before if before[-1:] == [world] or (world == 1 and not before) else [*before, world]


class SharedSteps:
    """The steps of one training, shared by all processes; lives in the first one."""

    def __init__(
        self,
        channel: Channel,
        network: torch.nn.Module,
        describe: Callable[[], tuple[dict[str, Any], Arrays]],
        threads: int | None,
    ) -> None:
        """The others get the network with the first step.

        Args:
            channel: to the others.
            network: what is trained.
            describe: returns the description of the job, with its `kind`, and its arrays.
            threads: of this machine, for all its processes together; None: torch's number.
        """
        self._channel, self._network, self._describe = channel, network, describe
        self._threads = torch.get_num_threads() if threads is None else threads
        self._trained = [p for p in network.parameters() if p.requires_grad]
        self._begun = False

    @property
    def world(self) -> int:
        """The number of processes."""
        return self._channel.world

    def take(
        self,
        header: Mapping[str, Any],
        arrays: Arrays,
        shares: Sequence[NDArray[np.int64]],
        compute: Callable[[NDArray[np.int64]], Sequence[float]],
    ) -> list[float]:
        """Set the gradients of a step.

        Args:
            header: values of the step, for the others.
            arrays: the R rows of the step, for the others.
            shares: the numbers of the rows that each process computes.
            compute: sets the gradients of some rows in this process; returns their sums.

        Returns:
            The sums over all rows, added up in the order of the processes.

        Raises:
            DistributedError: another process failed or ended.
        """
        channel = self._channel
        with channel.together():
            if not self._begun:
                self._begin()
                self._begun = True
            number = np.empty(sum(map(len, shares)), dtype=np.int64)
            for process, rows in enumerate(shares):
                number[rows] = process
            channel.announce({**header, "do": "step"}, {**arrays, SHARE: number})
            channel.spread(self._trained)
            with torch_threads(torchrun.thread_share(self._threads)):
                return _together(channel, lambda: compute(shares[0]), self._trained)

    def _begin(self) -> None:
        """Send the network and what does not change from step to step."""
        channel, first = self._channel, next(self._network.parameters())
        described, arrays = self._describe()
        header = {
            "do": "job",
            "device": first.device.type,
            "threads": self._threads,
            "weights": describe_weights(self._network),
        }
        channel.announce(header | described, arrays)
        channel.report()
        channel.use(first.device)
        channel.spread(all_weights(self._network))


def shared_steps(
    network: torch.nn.Module,
    describe: Callable[[], tuple[dict[str, Any], Arrays]],
    threads: int | None,
) -> SharedSteps | None:
    """Return the shared steps of a training; None if this process is alone.

    Raises:
        ConfigError: a GPU with a number was requested for several processes.
    """
    channel, device = _TEAM.get(), next(network.parameters()).device
    if channel is None:
        return None
    if device.type == "cuda" and device.index not in (None, torchrun.local_rank()):
        raise ConfigError(
            f"compute.device = {device}: with several processes each takes the GPU of its own "
            "number; use --device cuda, and choose GPUs with CUDA_VISIBLE_DEVICES"
        )
    return SharedSteps(channel, network, describe, threads)


def _together(
    channel: Channel, compute: Callable[[], Sequence[float]], trained: Sequence[torch.nn.Parameter]
) -> list[float]:
    """Compute a part of a step; add up its gradients with those of the others, in the first
    process, and its sums, in all.
    """
    found: list[float] = []
    error = None
    try:
        found = list(compute())
    except Exception as raised:
        error = raised
    bits = "".join("0" if parameter.grad is None else "1" for parameter in trained)
    reports = channel.report([found, hex(int(bits or "0", 2))], error)
    mask = 0
    for _, some in reports:
        mask |= int(some, 16)
    # A weight without a gradient in any process has none afterwards: weight decay leaves it alone.
    moved: list[Tensor] = []
    for bit, parameter in zip(f"{mask:0{len(trained)}b}", trained, strict=True):
        if bit == "1":
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            moved.append(parameter.grad)
    channel.gather_sums(moved)
    return [sum(parts) for parts in zip(*(sums for sums, _ in reports), strict=True)]


def _work(channel: Channel, builders: Mapping[str, Build]) -> None:
    """Work for the first process until it ends.

    Raises:
        DistributedError: it ended without saying so.
    """
    job: Job | None = None
    while True:
        header, arrays = channel.listen()
        if header["do"] == "end":
            return
        try:
            with channel.together():
                if header["do"] == "job":
                    job = _begun(channel, builders, header, arrays)
                elif job is not None:
                    _step(channel, job, header, arrays)
        except Exception:
            if not channel.whole:
                raise
            # The first process has heard of it, and says what comes next.


def _begun(
    channel: Channel, builders: Mapping[str, Build], header: dict[str, Any], arrays: Arrays
) -> Job:
    """Take over a job; the others hear of it where it fails."""
    job, error, device = None, None, torch.device("cpu")
    try:
        kind = header["device"]
        name = f"cuda:{torchrun.local_rank()}" if kind == "cuda" else kind
        devices.apply(devices.resolve(name, torchrun.thread_share(header["threads"])))
        device = torch.device(name)
        job = builders[header["kind"]](header, arrays, device)
    except Exception as raised:
        error = raised
    channel.report(error=error)
    assert job is not None
    channel.use(device)
    channel.spread(all_weights(job.network))
    return job


def _step(channel: Channel, job: Job, header: Mapping[str, Any], arrays: Arrays) -> None:
    """Compute the gradients of this process's part of a step."""
    trained = [p for p in job.network.parameters() if p.requires_grad]
    channel.spread(trained)

    def compute() -> Sequence[float]:
        for parameter in trained:
            parameter.grad = None
        return job.compute(header, arrays, np.flatnonzero(arrays[SHARE] == channel.rank))

    _together(channel, compute, trained)
