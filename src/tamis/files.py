"""Files written beside and renamed, so that a reader never sees half of one and a crash never costs
the old one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to `path` when the block ends well, removed when it
    does not.

    Who may read the file is for the umask to say, whatever wrote it (safetensors' files are their
    owner's alone).
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.touch()
    mode = stat.S_IMODE(beside.stat().st_mode)
    beside.unlink()
    try:
        yield beside
        beside.chmod(mode)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` during the block; yield whether this process got it, without
    waiting.

    The operating system frees the lock when the process ends, whichever way it ends.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, fallback_to_soft=False)  # a mere file would outlive a killed process
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:  # again: the previous holder may just have removed the file that we opened
            lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        if os.name == "posix":  # Windows cannot remove an open file; there filelock removes it
            path.unlink(missing_ok=True)
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with replaced(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
