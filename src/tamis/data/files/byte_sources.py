"""Files, pipes and standard input as bytes: what is piped or compressed is read once, into memory
or into a temporary file.

Owns the name "-" for standard input, and the errors of files that cannot be opened.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tamis.data.files.compression import ENDINGS, LONGEST_MAGIC, compression_of, decompressed
from tamis.errors import DataError
from tamis.files import similar_path

STANDARD_INPUT = "standard input"
_PIECE = 1 << 20


@dataclass(eq=False)
class LocalFile:
    """A regular file without compression that can be read several times.

    `name` is the name in messages. `ending` is the ending of the file name without that of the
    compression, in lower case, such as ".csv"; "" for pipes.
    """

    name: str
    path: Path
    ending: str = ""


def is_piped(path: str | Path) -> bool:
    """Return whether a path can be read only once: "-", a pipe, a device or a socket."""
    if str(path) == "-":
        return True
    try:
        kind = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def source_name(path: str | Path) -> str:
    """Return the name of a path in messages."""
    return STANDARD_INPUT if str(path) in ("-", "/dev/stdin", "/dev/fd/0") else str(path)


def inner_ending(path: Path) -> str:
    """Return the ending of a file name without that of its compression: ".csv" for "a.csv.gz"."""
    ending = path.suffix.lower()
    return Path(path.stem).suffix.lower() if ending in ENDINGS else ending


def local_file(path: Path) -> LocalFile:
    """Return a file as it is, or a decompressed copy of it.

    Raises:
        DataError: it is missing, a directory, cannot be read, or its compression is damaged.
    """
    with open_bytes(path) as file:
        head = file.read(LONGEST_MAGIC)
        if compression_of(head) is None and not is_piped(path):
            return LocalFile(str(path), path, inner_ending(path))
        return temporary_copy(_with_head(head, file), source_name(path), inner_ending(path))


def temporary_copy(pieces: Iterable[bytes], name: str, ending: str = "") -> LocalFile:
    """Write bytes, decompressed, to a temporary file that lives as long as the result.

    Raises:
        DataError: the compression is damaged, or the temporary file cannot be written.
    """
    try:
        handle, place = tempfile.mkstemp(prefix="tamis-")
    except OSError as error:
        raise _no_copy(name, error) from None
    copy = LocalFile(name, Path(place), ending)
    weakref.finalize(copy, _remove, place)
    with open(handle, "wb") as file:
        for piece in decompressed(pieces, name):
            try:
                file.write(piece)
            except OSError as error:
                raise _no_copy(name, error) from None
    return copy


def read_all(path: Path) -> bytes:
    """Return the bytes of a file or a pipe, decompressed.

    Raises:
        DataError: see `local_file`.
    """
    with open_bytes(path) as file:
        head = file.read(LONGEST_MAGIC)
        return b"".join(decompressed(_with_head(head, file), source_name(path)))


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, a pipe, or standard input for "-".

    Raises:
        DataError: it is missing, is a directory, or cannot be read.
    """
    if str(path) == "-":
        return standard_input()
    try:
        return path.open("rb")
    except FileNotFoundError:
        hint = similar_path(path) or "check the path"
        raise DataError(f"{path}: there is no such file; {hint}") from None
    except IsADirectoryError:
        raise DataError(
            f"{path}: expected a file, found a directory; give one file in it"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: the file cannot be read ({reason}); check its permissions"
        ) from None


def standard_input() -> BinaryIO:
    """Open the bytes of stdin with a reader of its own.

    A thread may still wait for input when the process ends (Ctrl-C, or
    `tail -f log | tamis predict RUN | head`). Python closes sys.stdin at exit and aborts if a
    thread holds the lock of that reader.
    """
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError, AttributeError):  # stdin was replaced or is missing
        replaced: Any = sys.stdin
        if replaced is None:
            raise DataError(f"{STANDARD_INPUT}: it is closed; pipe something in") from None
        return cast(BinaryIO, getattr(replaced, "buffer", replaced))


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of an open file, at most a megabyte at a time."""
    while piece := file.read(_PIECE):
        yield piece


def _with_head(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    if head:
        yield head
    yield from pieces_of(file)


def _no_copy(name: str, error: OSError) -> DataError:
    return DataError(
        f"{name}: no temporary copy can be written ({error.strerror or error}); free space in "
        f"{tempfile.gettempdir()}, or choose another folder with TMPDIR"
    )


def _remove(place: str) -> None:
    with suppress(OSError):
        os.unlink(place)
