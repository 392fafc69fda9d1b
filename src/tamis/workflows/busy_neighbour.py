"""A busy neighbour for measurements: another process that keeps one core busy, and how busy the
machine is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROC_STAT = Path("/proc/stat")
_SPIN = """
import os
parent = os.getppid()
print("busy", flush=True)
while os.getppid() == parent:  # ends with the process that started it, however that ends
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def busy_neighbour(count: int = 1) -> Iterator[None]:
    """Keep `count` cores busy with other processes during the block.

    The processes run at normal priority on any core, as another program of the user would. They
    are busy when the block begins.
    """
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            started = subprocess.Popen(
                [sys.executable, "-S", "-c", _SPIN], stdout=subprocess.PIPE, text=True
            )
            processes.append(started)
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def busy_cores(seconds: float = 0.5) -> float | None:
    """Return how many cores all processes together keep busy while this one waits `seconds`; None
    where the system does not tell (only Linux does).

    A benchmark notes it with its figures: on an idle machine it is near 0.
    """
    before = _busy_ticks()
    begun = time.perf_counter()
    time.sleep(seconds)
    after, passed = _busy_ticks(), time.perf_counter() - begun
    if before is None or after is None:
        return None
    return (after - before) / os.sysconf("SC_CLK_TCK") / passed


def _busy_ticks() -> int | None:
    """Return the clock ticks of all cores so far, without idle ones (proc_stat(5))."""
    try:
        first = PROC_STAT.read_text(encoding="ascii").splitlines()[0].split()
        user, nice, system, _, _, interrupt, soft = (int(field) for field in first[1:8])
    except (OSError, ValueError, IndexError):
        return None
    return user + nice + system + interrupt + soft
