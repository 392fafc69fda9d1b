"""The folder that a table is scored into. Each file appears complete or not at all, and stays after
a crash of the machine.

Another storage, such as an object store, needs a class with the methods of `OutputFolder`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tamis.errors import RunError
from tamis.files import holder, locked, replaced

STATE = ".tamis-score"
"""Folder in the output folder with what a resumed run needs; it is removed in the end."""
_LOCK = ".tamis-score.lock"


class OutputFolder(Protocol):
    """Files by name; a name may begin with `STATE` and a slash."""

    @property
    def name(self) -> str:
        """The name of the folder in messages."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes out during a block.

        Raises:
            RunError: another process is in it.
        """
        ...

    def contains(self, location: str) -> bool:
        """Return whether the file at a path or URI is in it, or in a folder of it."""
        ...

    def names(self) -> set[str]:
        """Return the names of all files and folders in it, and of the files in `STATE`."""
        ...

    def size(self, name: str) -> int | None:
        """Return the bytes of a file; None if it does not exist."""
        ...

    def read(self, name: str) -> str:
        """Return the content of a UTF-8 file."""
        ...

    def replaced(self, name: str) -> AbstractContextManager[Path]:
        """Yield a local path; what the block writes there becomes the file `name`.

        Raises:
            RunError: it cannot be written.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or the folder `STATE`, if it exists."""
        ...


class LocalFolder:
    """A folder of this machine; it is made when it is locked."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is made yet."""
        self._path = path

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `OutputFolder`."""
        path = self._path
        if path.exists() and not path.is_dir():
            raise RunError(
                f"{path} exists and is no folder; the parts are written into a folder, give the "
                "name of one"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_written(path, error) from None
        try:
            with locked(path / _LOCK) as free:
                if not free:
                    raise RunError(
                        f"{path} is in use by {holder(path / _LOCK)}; wait until it ends, or give "
                        "another folder"
                    )
                yield
        except OSError as error:
            raise _not_written(path, error) from error

    def contains(self, location: str) -> bool:
        """See `OutputFolder`. A symbolic link counts where it is and where it leads."""
        path, root = Path(location), self._path.resolve()
        places = (path.parent.resolve() / path.name, path.resolve())
        return path.exists() and any(root in place.parents for place in places)

    def names(self) -> set[str]:
        """See `OutputFolder`."""
        found = {entry.name for entry in self._path.iterdir()} - {_LOCK}
        state = self._path / STATE
        if state.is_dir():
            found |= {f"{STATE}/{entry.name}" for entry in state.iterdir()}
        return found

    def size(self, name: str) -> int | None:
        """See `OutputFolder`."""
        try:
            return (self._path / name).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, name: str) -> str:
        """See `OutputFolder`."""
        return (self._path / name).read_text(encoding="utf-8")

    @contextmanager
    def replaced(self, name: str) -> Iterator[Path]:
        """See `OutputFolder`."""
        path = self._path / name
        try:
            path.parent.mkdir(exist_ok=True)
            with replaced(path) as beside:
                yield beside
            _synchronize(path.parent)
        except OSError as error:
            raise _not_written(path, error) from error

    def remove(self, name: str) -> None:
        """See `OutputFolder`."""
        path = self._path / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _synchronize(folder: Path) -> None:
    """Write the names in a folder to the disk, so that a renamed file stays after a power cut."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _not_written(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path} cannot be written ({error.strerror or error}); check the folder and the space on "
        "the disk, then repeat the same command: finished parts are kept"
    )
