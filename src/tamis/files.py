"""Atomic writing of files, and locks.

A file is written in a temporary folder beside it and then renamed, so that readers never see an
incomplete file, and a crash does not destroy the previous version. What a killed process leaves is
removed when the same file is written again.
"""

from __future__ import annotations

import ctypes
import difflib
import errno
import hashlib
import itertools
import os
import platform
import re
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
    """Yield a temporary path beside `path`, in a folder of its own. If the block succeeds, the file
    is renamed to `path`; if it fails, the file is removed.

    What a killed process left of `path` is removed first. The file gets the permissions of the
    umask (safetensors alone would make it readable only for its owner).
    """
    with _own_folder(path) as folder:
        beside = folder / path.name
        beside.touch()
        mode = stat.S_IMODE(beside.stat().st_mode)
        beside.unlink()
        yield beside
        beside.chmod(mode)
        _sync(beside)
        beside.replace(path)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder. If the block succeeds, the folder is renamed to `path`, in the
    place of what was there; if it fails, the folder is removed.

    What was there is exchanged in one step where the file system can, so that `path` exists at any
    time. Elsewhere a kill between two renames moves it aside; the next call puts it back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _own_folder(path) as folder:
        beside = folder / path.name
        beside.mkdir()
        yield beside
        for file in beside.rglob("*"):
            if file.is_file():
                _sync(file)
        try:
            beside.rename(path)
        except OSError:  # something is there
            if not path.exists():
                raise
            if not exchange(beside, path):
                path.rename(folder / f"{path.name}{_OLD}")
                beside.rename(path)


@contextmanager
def _own_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, whose name tells which process writes what."""
    _remove_left_over(path)
    own = f"{_prefix(path)}{_HOST}.{os.getpid()}.{next(_NUMBERS)}{_ENDING}"
    folder = path.with_name(own)
    _WRITING.add(own)  # first: another thread may look for what was left
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _WRITING.discard(own)


_OLD, _ENDING = ".old", ".part"
_NUMBERS = itertools.count()
_WRITING: set[str] = set()
"""Temporary folders of this process."""
_HOST = re.sub(r"[^\w-]", "-", platform.node())[:32] or "host"


def is_temporary(path: Path) -> bool:
    """Whether a path is of a file that is being written, or was when a process was killed."""
    return path.name.startswith(".") and path.name.endswith(_ENDING)


def _prefix(path: Path) -> str:
    """How the names of all temporary folders of `path` begin; a long name is shortened."""
    name = path.name
    if len(os.fsencode(name)) > 150:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}."


def _remove_left_over(path: Path) -> None:
    """Remove the temporary folders that processes of this host left when they were killed."""
    if os.name != "posix":
        return  # a process cannot be asked whether it exists
    prefix = _prefix(path)
    try:
        entries = list(path.parent.iterdir())
    except PermissionError:  # a folder may be written and not read
        return
    for entry in entries:
        if not (entry.name.startswith(prefix) and entry.name.endswith(_ENDING)):
            continue
        owner = entry.name[len(prefix) : -len(_ENDING)].split(".")
        if len(owner) != 3 or owner[0] != _HOST or not owner[1].isdigit():
            continue
        if entry.name in _WRITING or (int(owner[1]) != os.getpid() and _exists(int(owner[1]))):
            continue
        aside = entry / f"{path.name}{_OLD}"
        if aside.exists() and not path.exists():
            aside.rename(path)
        shutil.rmtree(entry, ignore_errors=True)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; returns whether the system and the file system could."""
    names = os.fsencode(one), os.fsencode(other)
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if (rename := getattr(library, "renameat2", None)) is not None:  # Linux
        here, exchange = -100, 2
        return bool(rename(here, names[0], here, names[1], exchange) == 0)
    if (rename := getattr(library, "renamex_np", None)) is not None:  # macOS
        return bool(rename(*names, 2) == 0)
    return False


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Lock the file `path` during the block. Yields False if another process has the lock; with
    `wait` it is waited for.

    The operating system releases the lock when the process ends, also after `kill -9`. On a file
    system without such locks, the lock is a hidden file that names its process; if that process
    has ended on this host, the file is removed.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    lock: FileLock | SoftFileLock = FileLock(path, fallback_to_soft=False)
    try:
        try:
            lock.acquire(blocking=wait)
        except Timeout:  # try again: the previous holder may just have removed the opened file
            lock.acquire(blocking=False)
        except (OSError, NotImplementedError) as error:
            if getattr(error, "errno", errno.ENOSYS) not in _NO_LOCKS:
                raise
            lock = SoftFileLock(path.with_name(f".{path.name}{_ENDING}"))
            lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    try:
        if os.name == "posix":
            path.write_text(f"{os.getpid()}\n{platform.node()}\n", encoding="utf-8")
        yield True
    finally:
        if os.name == "posix":  # on Windows, filelock removes the file
            path.unlink(missing_ok=True)
        lock.release()


_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


def holder(path: Path) -> str:
    """Name the process that has a lock: "another process (123 on host)"; without number and host if
    the file does not tell.
    """
    try:
        process, host, *_ = path.read_text(encoding="utf-8").splitlines()
        return f"another process ({int(process)} on {host})"
    except (OSError, ValueError):
        return "another process"


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with replaced(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
