"""Further processes beside the one of a test: they follow it as those of torchrun follow the first
one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

FOLLOW = "from tamis.training.following import follow\nfollow()"


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def followers(count: int, *, program: str = FOLLOW) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes; in the block this one is told to be the first of them. They are ended with
    the block at the latest.
    """
    world, port = count + 1, free_port()
    with pytest.MonkeyPatch.context() as patch:
        started: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(1, world):
                told = os.environ | environment(rank, world, port)
                started.append(
                    subprocess.Popen([sys.executable, "-c", program], env=told, stderr=-1)
                )
            for name, value in environment(0, world, port).items():
                patch.setenv(name, value)
            yield started
        finally:
            ended(started, timeout=0)


def ended(
    processes: Sequence[subprocess.Popen[bytes]], *, timeout: float = 60
) -> list[tuple[int, str]]:
    """Exit code and stderr of each process; one that has not ended in time is killed."""
    found = []
    for process in processes:
        try:
            error = process.communicate(timeout=timeout)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            error = process.communicate()[1]
        found.append((process.returncode, (error or b"").decode()))
    return found
