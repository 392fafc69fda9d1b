"""Detects a file's encoding: UTF-8, UTF-16 or UTF-32 with BOM, else cp1252 with a note.

Owns only the choice of the encoding; `csv_reader`, `json_reader` and `message_reader` parse the
text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tamis.data.files.binary_formats import refuse_binary
from tamis.data.files.byte_sources import pieces_of, read_all, source_name
from tamis.errors import DataError

# UTF-32's little-endian BOM begins with UTF-16's, so it is tried first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UTF8_SEQUENCE = re.compile(
    rb"[\xc3-\xdf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
# The five byte values that cp1252 does not define.
_NOT_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


@dataclass(frozen=True)
class Encoding:
    """The encoding of a file, by Python's name, and notes to the user about the choice."""

    name: str
    notes: tuple[str, ...] = ()


def read_bytes(path: Path) -> bytes:
    """Return the bytes, decompressed, of a file or pipe that is not empty; "-" is stdin.

    Raises:
        DataError: `path` is missing, is a directory, cannot be read, or is empty.
    """
    content = read_all(path)
    name = source_name(path)
    if not content.strip(b" \t\r\n\xef\xbb\xbf"):
        raise DataError(
            f"{name}: expected rows, found an empty file; give a table with a label and a text "
            "in each row"
        )
    return content


def encoding_of(content: bytes, source: str) -> Encoding:
    """Detect the encoding of `content`, all bytes of the file.

    Raises:
        DataError: the bytes are neither UTF-8 nor cp1252, or are invalid in the encoding of their
            byte-order mark.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            try:
                content.decode(name)
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{source}: the byte-order mark says {name}, but byte {error.start} cannot "
                    f"be decoded ({error.reason}); save the file as UTF-8"
                ) from None
            return Encoding(name)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return _cp1252(content, error.start, source)
    return Encoding("utf-8")


def decode(content: bytes, source: str) -> tuple[str, Encoding]:
    """Decode `content`; returns the text without byte-order mark, and the encoding.

    Raises:
        DataError: see `encoding_of`; or the content has a binary format, or contains a NUL
            character.
    """
    refuse_binary(content, source, "a table (CSV, TSV, Excel, JSONL or Parquet)")
    encoding = encoding_of(content, source)
    text = content.decode(encoding.name)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{source} line {line}: expected text, found a NUL byte; remove it")
    return text, encoding


def encoding_of_file(path: Path, source: str) -> Encoding:
    """Like `encoding_of`, but reads the file a megabyte at a time.

    Raises:
        DataError: see `encoding_of`.
    """
    with path.open("rb") as file:
        head = file.read(4)
        for mark, name in _MARKS:
            if head.startswith(mark):
                file.seek(0)
                for _ in transcoded(pieces_of(file), name, source):
                    pass
                return Encoding(name)
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for chunk in pieces_of(file):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            # Only a file that is not UTF-8 is read as a whole, to find the line and byte for the
            # note.
            return encoding_of(path.read_bytes(), source)
    return Encoding("utf-8")


def wide_encoding(head: bytes) -> str | None:
    """Return "utf-16" or "utf-32" if a file that begins with `head` has such a byte-order mark."""
    return next((name for mark, name in _MARKS[1:] if head.startswith(mark)), None)


def transcoded(
    pieces: Iterable[bytes], encoding: str, source: str, *, whole: bool = True
) -> Iterator[bytes]:
    """Yield bytes in UTF-8, without byte-order mark, from pieces in another encoding.

    `whole` is False if the pieces may end inside a character.

    Raises:
        DataError: the bytes are invalid in `encoding`.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    read = 0
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode("utf-8", "surrogatepass")
            read += len(piece)
        if whole:
            yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source}: the byte-order mark says {encoding}, but a byte after byte "
            f"{max(read + error.start - 4, 0)} cannot be decoded ({error.reason}); save the file "
            "as UTF-8"
        ) from None


def decode_line(line: bytes, number: int, source: str) -> str:
    """Decode one line of a stream that cannot be read twice: UTF-8, else cp1252 for this line only.

    Raises:
        DataError: the line is neither UTF-8 nor cp1252.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return line.decode("cp1252")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{source} line {number}: byte 0x{line[error.start]:02x} is neither UTF-8 nor "
                "cp1252; save the text as UTF-8"
            ) from None


def _cp1252(content: bytes, first_bad: int, source: str) -> Encoding:
    line = content.count(b"\n", 0, first_bad) + 1
    undefined = _NOT_CP1252.search(content)
    if undefined:
        at = content.count(b"\n", 0, undefined.start()) + 1
        raise DataError(
            f"{source} line {line}: byte 0x{content[first_bad]:02x} is not UTF-8, and byte "
            f"0x{undefined.group()[0]:02x} in line {at} "
            "is not cp1252 either; save the file as UTF-8"
        )
    notes = [
        f"{source} is not UTF-8 (byte 0x{content[first_bad]:02x} in line {line}) and was read as "
        "cp1252."
    ]
    mixed = len(_UTF8_SEQUENCE.findall(content))
    if mixed:
        notes.append(
            f"{source} was read as cp1252 but contains {mixed} characters that look like UTF-8; "
            "save the whole file as UTF-8."
        )
    return Encoding("cp1252", tuple(notes))
