"""Counts the CPUs that this process may use, within its affinity mask and control group quotas.

This module only counts; device.py chooses the number of threads. On Linux the kernel's files are
read, because joblib counts neither the cores that an affinity mask leaves nor the quotas of nested
control groups; on other systems joblib counts the physical cores. Sources: Linux,
Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (cpu.cfs_quota_us).
"""

from __future__ import annotations

import math
import os
from pathlib import Path

PROC, SYS = Path("/proc"), Path("/sys")


def available_processors() -> tuple[int, int]:
    """Return the (physical cores, logical CPUs) that this process may use, each at least 1."""
    if not hasattr(os, "sched_getaffinity"):  # Windows, macOS
        from joblib import cpu_count

        most = os.cpu_count() or 1
        return min(cpu_count(only_physical_cores=True), most), most
    allowed = sorted(os.sched_getaffinity(0))
    cores = {_core_of(number) for number in allowed}
    quota = _cgroup_quota()
    most = len(allowed) if quota is None else max(1, min(len(allowed), math.floor(quota)))
    return min(len(cores), most), most


def _core_of(number: int) -> tuple[str, str]:
    """Return (package, core) of a logical CPU; the CPU itself if the system does not report it."""
    topology = SYS / f"devices/system/cpu/cpu{number}/topology"
    try:
        package = (topology / "physical_package_id").read_text(encoding="utf-8").strip()
        return package, (topology / "core_id").read_text(encoding="utf-8").strip()
    except OSError:
        return "", str(number)


def _cgroup_quota() -> float | None:
    """Return the CPU quota of this process's control groups, in CPUs; None if there is no limit.

    Reads both versions: `cpu.max` (v2) and `cpu.cfs_quota_us` (v1). In a container, the path in
    /proc is often that of the host, so every existing level up to the root of the mount is read.
    """
    try:
        lines = (PROC / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    grants = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            roots = [SYS / "fs/cgroup", SYS / "fs/cgroup/unified"]
        elif "cpu" in controllers.split(","):
            roots = [SYS / "fs/cgroup" / controllers, SYS / "fs/cgroup/cpu"]
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        levels = [
            root.joinpath(*parts[:depth]) for root in roots for depth in range(len(parts) + 1)
        ]
        grants += [grant for level in levels if (grant := _grant(level)) is not None]
    return min(grants, default=None)


def _grant(level: Path) -> float | None:
    """Return quota divided by period of one control group; None if it sets no quota."""
    try:
        if (level / "cpu.max").exists():
            quota, period = (level / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota = (level / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (level / "cpu.cfs_period_us").read_text(encoding="utf-8")
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # "max" is not a number: no limit at this level
        return None
