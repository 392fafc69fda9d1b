"""What the system tells of the processor."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cpu_fields() -> dict[str, str]:
    """Return the fields of /proc/cpuinfo by their names in lower case; none outside of Linux."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }


def vendor() -> str:
    """Return the vendor as the processor names it, such as `GenuineIntel` or `AuthenticAMD`; empty
    if the system does not tell.

    Linux has it in /proc/cpuinfo; on Windows it ends the processor's name.
    """
    last = platform.processor().rpartition(",")[2].strip()
    return cpu_fields().get("vendor_id") or (last if last.endswith(("Intel", "AMD")) else "")
