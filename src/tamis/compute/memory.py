"""Returns unused memory to the operating system after something large was loaded.

Linux only; does nothing elsewhere, or if the system calls fail. No result depends on it.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

_MAPS = Path("/proc/self/smaps")


def release_memory(*files: Path) -> None:
    """Return freed heap memory, and the pages of these memory-mapped files, to the system.

    Pages that are read again come from the system's file cache.
    """
    if sys.platform != "linux":
        return
    try:
        system = ctypes.CDLL(None)
        system.malloc_trim(
            0
        )  # glibc keeps freed blocks of up to 32 MB, which includes whole matrices
        for start, end in _untouched({str(file.resolve()) for file in files}):
            system.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
    except (OSError, AttributeError, ValueError):  # another C library, or no /proc
        return


def _untouched(files: set[str]) -> list[tuple[int, int]]:
    """Return (start, end) of the files' mappings without written pages (these would be lost)."""
    found, place = [], None
    for line in _MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        first, *rest = line.split(maxsplit=5)
        if not first.endswith(":"):
            place = first if len(rest) == 5 and rest[4] in files else None
        elif place is not None and first == "Anonymous:" and rest[0] == "0":
            start, _, end = place.partition("-")
            found.append((int(start, 16), int(end, 16)))
    return found


def resident_mb() -> float | None:
    """Return the memory of this process in MB (10^6 bytes); None if it is unknown."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * mmap.PAGESIZE / 1e6
