"""One run of `tamis score` as a process of its own, with times and peak memory (Linux)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_S = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """What a run took."""

    seconds: float
    """wall clock, from the start of the command to its end"""
    peak_mb: float
    """largest sum of the resident memory of all its processes at one moment, in MB; pages that they
    share are counted for each"""
    command_mb: float
    """largest resident memory of the command itself, which reads and writes, in MB"""
    processor_seconds: float
    """user and system time of all its processes; of one that ends, without its last moments. It
    hardly depends on what else the machine computes"""
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
    peak, own, most = 0.0, 0.0, 0
    times: dict[int, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            family = _family(process.pid)
            sizes = [_resident_mb(each) for each in family]
            peak, own, most = max(peak, sum(sizes)), max(own, sizes[0]), max(most, len(sizes))
            times |= {each: max(times.get(each, 0.0), _processor_seconds(each)) for each in family}
            time.sleep(SAMPLE_S)
        seconds = time.monotonic() - begun
        assert process.stdout is not None
        out = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return Measured(seconds, peak, own, sum(times.values()), most, json.loads(out))


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


def _processor_seconds(pid: int) -> float:
    """Return the user and system time of a process; 0 if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()  # the name before it may contain spaces
    return (int(fields[11]) + int(fields[12])) / _TICKS
