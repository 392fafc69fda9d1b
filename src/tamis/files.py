"""Atomic writing of files, and locks.

A file is written under a temporary name in the same folder and then renamed, so that readers never
see an incomplete file, and a crash does not destroy the previous version.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tamis.errors import ConfigError


def as_path(value: Any, what: str) -> Path:
    """Return a path that a caller gave; `what` names the argument in the message.

    Raises:
        ConfigError: it is neither a string nor a path, or contains a null character.
    """
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str):
        raise ConfigError(
            f"{what}: expected a path as str or Path, got {value!r:.60} of type "
            f"{type(value).__name__}"
        )
    if "\0" in path:
        raise ConfigError(f"{what}: a path has no null character, got {path!r:.60}")
    return Path(path)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`. If the block succeeds, the file is renamed to
    `path`; if it fails, the file is removed.

    The file gets the permissions of the umask (safetensors alone would make it readable only for
    its owner).
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
    """Lock the file `path` during the block, without waiting. Yields False if another process has
    the lock.

    The operating system releases the lock when the process ends, also after `kill -9`.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, fallback_to_soft=False)  # a soft lock would remain after a kill
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:  # try again: the previous holder may just have removed the opened file
            lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        if os.name == "posix":  # on Windows, filelock removes the file
            path.unlink(missing_ok=True)
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with replaced(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `path`. If the block succeeds, the folder is renamed to
    `path`, in the place of what was there; if it fails, the folder is removed.
    """
    beside, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        if path.exists():
            path.rename(old)
        beside.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def similar_path(path: Path | str) -> str:
    """Return a question that names the entry of the same folder with the most similar name, such as
    "did you mean 'runs/first'?"; empty if there is none, or the path cannot be read.
    """
    path = Path(path)
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)
    return f"did you mean {str(path.parent / near[0])!r}?" if near else ""
