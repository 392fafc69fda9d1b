"""What torchrun tells the processes that it starts, in environment variables. Imports no torch."""

from __future__ import annotations

import os


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
    """Return whether torchrun started the processes again after one had failed."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0) > 0


def thread_share(threads: int) -> int:
    """Return this process's share of the threads of its machine, at least 1."""
    return max(1, threads // local_processes())


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
