"""The first reading of a file: hash, encoding and number of lines, in bounded memory.

A file with bytes that are not UTF-8 is read as cp1252, as everywhere, unless most of its other
characters are valid UTF-8: then the rows with the invalid bytes are bad, and all others are read as
they were meant.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tamis.data.files.encoding import transcoded, wide_encoding
from tamis.errors import DataError
from tamis.workflows.score_table.source import TableSource

HEAD_BYTES = 1 << 18
_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_NOT_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_HIGH = bytes(range(128, 256))


@dataclass(frozen=True)
class Survey:
    """What is known about the content of a file before its rows are read."""

    sha256: str
    size: int
    """bytes, decompressed"""
    lines: int
    head: bytes
    """its beginning"""
    encoding: str
    """Python's name"""
    errors: str = "strict"
    """Python's handler of decoding errors; "surrogateescape": some rows are not UTF-8"""
    notes: tuple[str, ...] = ()


class _NonASCII:
    """Counts what bytes above 127 are."""

    def __init__(self) -> None:
        self.valid = True
        self.in_sequences = self.high = 0
        self.undefined = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def add(self, piece: bytes) -> None:
        if self.valid:
            try:
                self._decoder.decode(piece)
            except UnicodeDecodeError:
                self.valid = False
        if not piece.isascii():
            self.high += len(piece) - len(piece.translate(None, _HIGH))
            self.in_sequences += sum(map(len, _SEQUENCE.findall(piece)))
            self.undefined = self.undefined or _NOT_CP1252.search(piece) is not None

    def end(self) -> None:
        if self.valid:
            try:
                self._decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                self.valid = False


def survey(source: TableSource) -> Survey:
    """Read a file once.

    Raises:
        DataError: it is empty, cannot be read, or its bytes contradict its byte-order mark.
    """
    digest, size, lines, head = hashlib.sha256(), 0, 0, b""
    found, last = _NonASCII(), b""
    wide: str | None = None

    def hashed() -> Iterator[bytes]:
        nonlocal size, head, last
        for piece in source.pieces():
            digest.update(piece)
            size += len(piece)
            if len(head) < HEAD_BYTES:
                head += piece[: HEAD_BYTES - len(head)]
            last = piece[-1:] or last
            yield piece

    pieces = hashed()
    first = next(pieces, b"")
    wide = wide_encoding(first)
    for piece in _and_rest(first, pieces) if not wide else ():
        found.add(piece)
        # Lines end with CR alone in some files; where both occur the larger count is the better.
        lines += max(piece.count(b"\n"), piece.count(b"\r"))
    if wide:
        for piece in transcoded(_and_rest(first, pieces), wide, source.name):
            lines += piece.count(b"\n")
    found.end()
    if not head.strip(b" \t\r\n\xef\xbb\xbf"):
        raise DataError(
            f"{source.name}: expected a table, found an empty file; give a file with a text in "
            "each row"
        )
    lines += last not in (b"\n", b"\r")
    facts = (digest.hexdigest(), size, lines, head)
    if wide:
        return Survey(*facts, wide)
    utf8 = "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8"
    if found.valid:
        return Survey(*facts, utf8)
    if utf8 == "utf-8-sig" or found.undefined or 2 * found.in_sequences > found.high:
        return Survey(*facts, utf8, "surrogateescape")
    note = f"{source.name} is not UTF-8 and is read as cp1252."
    return Survey(*facts, "cp1252", notes=(note,))


def _and_rest(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
