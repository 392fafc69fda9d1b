"""Detects a file's encoding: UTF-8, UTF-16 or UTF-32 with BOM, else cp1252 with a note.

Owns only the choice of the encoding; `csv_reader`, `json_reader` and `message_reader` parse the
text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

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
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Encoding:
    """The encoding of a file, by Python's name, and notes to the user about the choice."""

    name: str
    notes: tuple[str, ...] = ()


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file that exists and is not empty.

    Raises:
        DataError: `path` is missing, is a directory, cannot be read, or is empty.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(
            f"{path}: expected a file, found a directory; give one file in it"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path}: the file cannot be read ({error.strerror or error}); check its permissions"
        ) from None
    if not content.strip(b" \t\r\n\xef\xbb\xbf"):
        raise DataError(
            f"{path}: expected rows, found an empty file; give a table with a label and a text "
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
        DataError: see `encoding_of`; or the text contains a NUL character.
    """
    encoding = encoding_of(content, source)
    text = content.decode(encoding.name)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        hint = (
            "this looks like UTF-16 without a byte-order mark; save the file as UTF-8"
            if content.count(b"\0") * 4 > len(content)
            else "remove it"
        )
        raise DataError(f"{source} line {line}: expected text, found a NUL byte; {hint}")
    return text, encoding


def encoding_of_file(path: Path) -> Encoding:
    """Like `encoding_of`, but reads the file a megabyte at a time.

    Raises:
        DataError: the bytes are neither UTF-8 nor cp1252.
    """
    with path.open("rb") as file:
        head = file.read(4)
        for mark, name in _MARKS:
            if head.startswith(mark):
                return Encoding(name)
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for chunk in _chunks(file):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            # Only a file that is not UTF-8 is read as a whole, to find the line and byte for the
            # note.
            return encoding_of(path.read_bytes(), str(path))
    return Encoding("utf-8")


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


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
