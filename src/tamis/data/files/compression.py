"""Decompresses gzip, bzip2 and xz, recognised by content, a piece at a time."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Protocol

from tamis.errors import DataError

ENDINGS = frozenset((".gz", ".bz2", ".xz"))
LONGEST_MAGIC = 10
_PIECE = 1 << 20


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """A gzip member with the interface of `bz2.BZ2Decompressor`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._rest = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._rest

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._inner.decompress(self._rest + data, max_length)
        self._rest = self._inner.unconsumed_tail
        return found


_FORMATS: tuple[tuple[bytes, str, Callable[[], _Decompressor]], ...] = (
    (b"\x1f\x8b\x08", "gzip", _Gzip),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", "xz", lzma.LZMADecompressor),
)


def compression_of(head: bytes) -> str | None:
    """Return "gzip", "bzip2" or "xz" if a file that begins with `head` is compressed."""
    for magic, name, _ in _FORMATS:
        # A text may begin with "BZh"; compressed data has a block size and pi or sqrt(pi) next.
        if head.startswith(magic) and (
            name != "bzip2" or head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")
        ):
            return name
    return None


def decompressed(pieces: Iterable[bytes], source: str) -> Iterator[bytes]:
    """Yield the content of compressed data; data that is not compressed stays as it is.

    Raises:
        DataError: while reading: the data is damaged or ends too early.
    """
    rest = iter(pieces)
    head = b""
    while len(head) < LONGEST_MAGIC and (piece := next(rest, None)) is not None:
        head += piece
    name = compression_of(head)
    if name is None:
        yield from chain([head] if head else [], rest)
        return
    make = next(make for _, each, make in _FORMATS if each == name)
    now: _Decompressor | None = None
    try:
        for piece in chain([head], rest):
            waiting = piece
            while waiting or (now is not None and not now.needs_input):
                if now is None:
                    waiting = waiting.lstrip(b"\0")  # padding after a member
                    if not waiting:
                        break
                    now = make()
                found = now.decompress(waiting, _PIECE)
                waiting = b""
                if found:
                    yield found
                if now.eof:
                    waiting, now = now.unused_data, None
    except (zlib.error, OSError, EOFError, lzma.LZMAError) as error:
        raise _damaged(source, name, str(error)) from None
    if now is not None:
        raise _damaged(source, name, "it ends too early")


def _damaged(source: str, name: str, reason: str) -> DataError:
    return DataError(
        f"{source}: begins like {name} data but cannot be decompressed ({reason}); write or "
        "download the file again"
    )
