"""What torchrun tells the processes that it starts, in environment variables. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable


def world_size() -> int:
    """Return the number of processes, on all machines together; 1 without torchrun."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """Return the number of this process, from 0."""
    return _number("RANK", 0)


def follows() -> bool:
    """Return whether this process works for the first of several."""
    return world_size() > 1 and rank() > 0


def local_rank() -> int:
    """Return the number of this process on its machine, from 0."""
    return _number("LOCAL_RANK", 0)


def local_processes() -> int:
    """Return the number of processes on this machine."""
    return max(1, min(_number("LOCAL_WORLD_SIZE", 1), world_size()))


def restarted() -> bool:
    """Return whether torchrun started this process again after another one had failed."""
    return world_size() > 1 and _number("TORCHELASTIC_RESTART_COUNT", 0) > 0


def thread_share(threads: int) -> int:
    """Return this process's share of the threads of its machine, at least 1."""
    return max(1, threads // local_processes())


def own_device(asked: str, *, cuda: Callable[[], bool] | None = None) -> str:
    """Return the device of this process.

    `auto` and `cuda` give the GPU with the process's LOCAL_RANK, if there are several processes.

    Args:
        asked: the setting `compute.device`; a device with a number, or the CPU, is returned
            unchanged.
        cuda: returns whether torch sees a GPU; default: torch's own answer.
    """
    if world_size() > 1 and (asked == "cuda" or (asked == "auto" and (cuda or _sees_gpu)())):
        return f"cuda:{local_rank()}"
    return asked


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
