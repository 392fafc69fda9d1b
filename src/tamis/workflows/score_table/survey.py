"""The first reading of a file: hash, encoding and number of lines, in bounded memory.

A file with bytes that are not UTF-8 is read as cp1252, as everywhere, unless most of its other
characters are valid UTF-8: then the rows with the invalid bytes are bad, and all others are read as
they were meant.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from tamis.data.files.encoding import transcoded, wide_encoding
from tamis.data.files.parquet_reader import MAGIC
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


def survey(source: TableSource) -> Survey:
    """Read a file once; twice if its encoding is in doubt.

    Raises:
        DataError: it is empty, cannot be read, or its bytes contradict its byte-order mark.
    """
    digest, size, head, last = hashlib.sha256(), 0, b"", b""

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
    whole = chain([first], pieces)
    wide = wide_encoding(first)
    valid, lines = True, 0
    if wide:
        lines = sum(piece.count(b"\n") for piece in transcoded(whole, wide, source.name))
    elif first.startswith(MAGIC):
        for _ in whole:
            pass  # Parquet has no lines and no encoding
    else:
        valid, lines = _read_text(whole)
    if not head.strip(b" \t\r\n\xef\xbb\xbf"):
        raise DataError(
            f"{source.name}: expected a table, found an empty file; give a file with a text in "
            "each row"
        )
    lines += last not in (b"\n", b"\r")
    facts = (digest.hexdigest(), size, lines, head)
    marked = head.startswith(codecs.BOM_UTF8)
    encoding = wide or ("utf-8-sig" if marked else "utf-8")
    if valid:
        return Survey(*facts, encoding)
    if marked or _is_mostly_utf8(source.pieces()):
        return Survey(*facts, encoding, "surrogateescape")
    note = f"{source.name} is not UTF-8 and is read as cp1252."
    return Survey(*facts, "cp1252", notes=(note,))


def _read_text(pieces: Iterable[bytes]) -> tuple[bool, int]:
    """Return whether all is valid UTF-8, and the number of lines that end."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    valid, lines = True, 0
    for piece in pieces:
        # Lines end with CR alone in some files; where both occur, the larger count is the better.
        lines += max(piece.count(b"\n"), piece.count(b"\r"))
        if valid:
            try:
                decoder.decode(piece)
            except UnicodeDecodeError:
                valid = False
    if valid:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            valid = False
    return valid, lines


def _is_mostly_utf8(pieces: Iterable[bytes]) -> bool:
    """Return whether most bytes above 127 are in valid sequences of UTF-8, or some are not defined
    in cp1252 anyway.
    """
    high = in_sequences = 0
    for piece in pieces:
        if _NOT_CP1252.search(_SEQUENCE.sub(b"", piece)):
            return True
        high += len(piece) - len(piece.translate(None, _HIGH))
        in_sequences += sum(map(len, _SEQUENCE.findall(piece)))
    return 2 * in_sequences > high
