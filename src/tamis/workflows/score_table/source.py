"""Where the bytes of a table come from. Formats are told from their content elsewhere.

Another storage, such as an object store, needs a `TableSource` of its own with another `open`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tamis.data.files.byte_sources import (
    inner_ending,
    is_piped,
    local_file,
    open_bytes,
    pieces_of,
    source_name,
)
from tamis.data.files.compression import LONGEST_MAGIC, compression_of, decompressed
from tamis.errors import DataError, MissingExtraError

_ZSTANDARD = b"\x28\xb5\x2f\xfd"
ENDINGS = (".zst", ".zstd")


@dataclass(frozen=True, eq=False)
class TableSource:
    """A file that can be opened several times."""

    name: str
    """its name in messages"""
    ending: str
    """ending of its name without that of the compression, in lower case, such as ".csv" """
    open: Callable[[], BinaryIO]
    """opens the file at its beginning, as it is stored; seekable"""
    held: object = None
    """what must live as long as the source, such as a temporary copy"""

    def pieces(self) -> Iterator[bytes]:
        """Yield the content, decompressed (gzip, bzip2, xz, Zstandard), at most a few megabytes at
        a time.

        Raises:
            DataError: the file cannot be read, or its compression is damaged.
            MissingExtraError: it is Zstandard and pyarrow is not installed.
        """
        with self.open() as file:
            head = file.read(LONGEST_MAGIC)
            file.seek(0)
            if head.startswith(_ZSTANDARD):
                yield from _zstandard(file, self.name)
            else:
                yield from decompressed(pieces_of(file), self.name)

    def is_compressed(self) -> bool:
        """Return whether `pieces` differ from what is stored."""
        with self.open() as file:
            head = file.read(LONGEST_MAGIC)
        return head.startswith(_ZSTANDARD) or compression_of(head) is not None

    def text(self, encoding: str, errors: str, newline: str) -> io.TextIOWrapper:
        """Open the content as text; arguments as those of the built-in `open`."""
        raw = io.BufferedReader(_Pieces(self.pieces()), 1 << 20)
        return io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=newline)


def local_source(path: Path) -> TableSource:
    """Return a file of this machine. A pipe, or "-" for standard input, is copied to a temporary
    file: it is read more than once.

    Raises:
        DataError: it is missing, a directory, or cannot be read.
    """
    if is_piped(path):
        copy = local_file(path)
        return TableSource(source_name(path), copy.ending, lambda: open_bytes(copy.path), copy)
    open_bytes(path).close()
    ending = path.suffix.lower()
    inner = Path(path.stem).suffix.lower() if ending in ENDINGS else inner_ending(path)
    return TableSource(str(path), inner, lambda: open_bytes(path))


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _zstandard(file: BinaryIO, name: str) -> Iterator[bytes]:
    pyarrow = import_pyarrow("reading Zstandard")
    try:
        with pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd") as stream:
            while piece := stream.read(1 << 20):
                yield piece
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(
            f"{name}: begins like Zstandard data but cannot be decompressed ({error}); write or "
            "download the file again"
        ) from None


def import_pyarrow(purpose: str) -> Any:
    """Import pyarrow, and `pyarrow.parquet` with it.

    Raises:
        MissingExtraError: it is not installed; the message contains `purpose`.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "tables", purpose) from None
    return pyarrow
