"""The processor's vendor."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_FIELD = "vendor_id"


def vendor() -> str:
    """Return the vendor as the processor names it, such as `GenuineIntel` or `AuthenticAMD`; empty
    if the system does not tell.

    Linux has it in /proc/cpuinfo; on Windows it ends the processor's name.
    """
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == _FIELD:
            return value.strip()
    last = platform.processor().rpartition(",")[2].strip()
    return last if last.endswith(("Intel", "AMD")) else ""
