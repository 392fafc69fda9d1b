"""Tables and output folders that a URI names: on S3, Google Cloud Storage, Azure, HDFS or any other
file system of pyarrow or fsspec. `file://` and plain paths are files of this machine.

Object stores show a file when it is complete; elsewhere it is written beside and renamed. They have
no locks: only processes of the same machine are kept apart. Two that write into one folder write
the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from tamis.cache import cache_directory
from tamis.data.files.byte_sources import inner_ending
from tamis.errors import ConfigError, DataError, RunError
from tamis.files import locked
from tamis.workflows.score_table.output_folder import STATE, LocalFolder, OutputFolder
from tamis.workflows.score_table.source import (
    ENDINGS,
    TableSource,
    import_pyarrow,
    local_source,
)

READ_BYTES = 8 << 20
"""Bytes of a request: object stores answer many small ones slowly."""
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_COMPLETE_OR_ABSENT = ("s3", "gcs", "abfs")
"""File systems of pyarrow that show a file only when all of it is written."""


def table_source(location: str) -> TableSource:
    """Return the table at a path or URI.

    Raises:
        DataError: it is missing, is a folder, or cannot be read.
        ConfigError: nobody knows the scheme of the URI.
        MissingExtraError: it is a URI and pyarrow is not installed.
    """
    if not _is_remote(location):
        return local_source(_local(location))
    files, path = _file_system(location)
    try:
        found = files.get_file_info(path)
    except OSError as error:
        raise DataError(_unusable(location, "cannot be read", error)) from error
    if not found.is_file:
        what = "does not exist" if found.type.name == "NotFound" else "is a folder"
        raise DataError(f"{location} {what}; expected a table (CSV, TSV, JSONL or Parquet)")

    def open_() -> BinaryIO:
        try:
            return cast(BinaryIO, io.BufferedReader(files.open_input_file(path), READ_BYTES))
        except OSError as error:
            raise DataError(_unusable(location, "cannot be read", error)) from error

    name = Path(path)
    ending = name.suffix.lower()
    inner = Path(name.stem).suffix.lower() if ending in ENDINGS else inner_ending(name)
    return TableSource(location, inner, open_)


def output_folder(location: str) -> OutputFolder:
    """Return the folder at a path or URI; it is made when it is locked.

    Raises:
        ConfigError, MissingExtraError: see `table_source`.
    """
    if not _is_remote(location):
        return LocalFolder(_local(location))
    return RemoteFolder(location.rstrip("/"), *_file_system(location.rstrip("/")))


class RemoteFolder:
    """A folder of a file system of pyarrow; see `OutputFolder`."""

    def __init__(self, name: str, files: Any, path: str) -> None:
        """Name the folder `path` of the file system `files`; nothing is made yet."""
        self._name, self._files, self._path = name, files, path

    @property
    def name(self) -> str:
        """The URI."""
        return self._name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `OutputFolder`. Keeps out other processes of this machine."""
        with self._errors():
            self._files.create_dir(self._path, recursive=True)
        locks = cache_directory() / "score"
        locks.mkdir(parents=True, exist_ok=True)
        with locked(locks / f"{hashlib.sha256(self._name.encode()).hexdigest()}.lock") as free:
            if not free:
                raise RunError(
                    f"{self._name}: another process is writing into this folder; wait until it "
                    "ends, or give another folder"
                )
            yield

    def contains(self, location: str) -> bool:
        """See `OutputFolder`."""
        return location.startswith(f"{self._name}/")

    def names(self) -> set[str]:
        """See `OutputFolder`."""
        from pyarrow.fs import FileSelector

        with self._errors("cannot be listed"):
            entries = self._files.get_file_info(FileSelector(self._path, recursive=True))
        root = self._path.strip("/")
        below = {entry.path.strip("/").removeprefix(root).strip("/") for entry in entries} - {""}
        return {name.split("/")[0] for name in below} | {
            name for name in below if name.startswith(f"{STATE}/")
        }

    def size(self, name: str) -> int | None:
        """See `OutputFolder`."""
        with self._errors("cannot be read"):
            found = self._files.get_file_info(self._at(name))
        return int(found.size) if found.is_file else None

    def read(self, name: str) -> str:
        """See `OutputFolder`."""
        with self._files.open_input_stream(self._at(name)) as file:
            return str(file.read().decode("utf-8"))

    @contextmanager
    def replaced(self, name: str) -> Iterator[Path]:
        """See `OutputFolder`."""
        with tempfile.TemporaryDirectory(prefix="tamis-score-") as folder:
            local = Path(folder, "file")
            yield local
            with self._errors():
                folder_name, _, last = self._at(name).rpartition("/")
                if self._files.type_name in _COMPLETE_OR_ABSENT:
                    self._upload(local, self._at(name))
                    return
                self._files.create_dir(folder_name, recursive=True)
                beside = f"{folder_name}/.{last}.part"
                self._upload(local, beside)
                self._files.move(beside, self._at(name))

    def remove(self, name: str) -> None:
        """See `OutputFolder`."""
        with self._errors("cannot be changed"):
            # In an object store, a folder is only the beginning of the names of files.
            found = self._files.get_file_info(self._at(name))
            if found.is_file:
                self._files.delete_file(self._at(name))
            elif name in self.names():
                self._files.delete_dir(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _upload(self, local: Path, path: str) -> None:
        with local.open("rb") as file, self._files.open_output_stream(path) as out:
            shutil.copyfileobj(file, out, READ_BYTES)

    @contextmanager
    def _errors(self, what: str = "cannot be written") -> Iterator[None]:
        """Turn the errors of a file system into those of tamis."""
        try:
            yield
        except (OSError, import_pyarrow("object stores").ArrowException) as error:
            raise RunError(
                f"{_unusable(self._name, what, error)}, then repeat the same command: finished "
                "parts are kept"
            ) from error


def _is_remote(location: str) -> bool:
    return _URI.match(location) is not None and not location.lower().startswith("file://")


def _local(location: str) -> Path:
    """Return a path, which may be written as `file:///PATH`."""
    if not location.lower().startswith("file://"):
        return Path(location)
    parts = urlsplit(location)
    if parts.netloc not in ("", "localhost"):
        raise ConfigError(
            f"{location}: expected file:///PATH with three slashes, got the host {parts.netloc!r}"
        )
    from urllib.request import url2pathname

    # `?` and `#` are ordinary letters in a file's name.
    return Path(url2pathname(location[len("file://") + len(parts.netloc) :]))


def _file_system(location: str) -> tuple[Any, str]:
    """Return the file system of a URI, and the path in it."""
    pyarrow = import_pyarrow("reading and writing object stores")
    from pyarrow import fs

    try:
        files, path = fs.FileSystem.from_uri(location)
        return files, path
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if not isinstance(error, pyarrow.ArrowInvalid) or "nrecognized" not in str(error):
            raise ConfigError(_unusable(location, "cannot be opened", error)) from error
    scheme = location.split("://")[0]
    try:
        import fsspec  # type: ignore[import-untyped]

        files, path = fsspec.core.url_to_fs(location)
    except (ImportError, ValueError, OSError) as error:
        raise ConfigError(
            f"{location}: no file system for {scheme}:// ({error}); expected a path, or a URI such "
            "as s3://, gs://, abfs://, hdfs:// or file://"
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(files)), unquote(path)


def _unusable(location: str, what: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return f"{location} {what} ({reason}); check the address, the credentials and the network"
