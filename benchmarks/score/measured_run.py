"""One run of `tamis score` as a process of its own, with time and peak memory (Linux)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_S = 0.2


@dataclass(frozen=True)
class Measured:
    """What a run took."""

    seconds: float
    """wall clock, from the start of the command to its end"""
    peak_mb: float
    """largest sum of the resident memory of all its processes at one moment, in MB; pages that they
    share are counted for each"""
    processes: int
    """largest number of processes at one moment"""
    summary: dict[str, Any]


def measure(*arguments: str) -> Measured:
    """Run `tamis score` with these arguments.

    Raises:
        RuntimeError: it fails.
    """
    begun = time.monotonic()
    command = [sys.executable, "-m", "tamis", "score", *arguments, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak, most = 0.0, 0
    while process.poll() is None:
        sizes = [_resident_mb(each) for each in _family(process.pid)]
        peak, most = max(peak, sum(sizes)), max(most, len(sizes))
        time.sleep(SAMPLE_S)
    seconds = time.monotonic() - begun
    assert process.stdout is not None
    out = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return Measured(seconds, peak, most, json.loads(out))


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:
            continue  # it has ended
    return found


def _resident_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS:")), 0.0)
