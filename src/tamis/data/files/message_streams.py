"""Messages from a stream, answered line by line. The first line decides the format."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import BinaryIO, TextIO

from tamis.data.files import json_reader, mail_reader, parquet_reader
from tamis.data.files.binary_formats import may_begin_binary, refuse_binary
from tamis.data.files.byte_sources import STANDARD_INPUT
from tamis.data.files.column_names import TEXT_NAMES, plain_name
from tamis.data.files.columns import firm
from tamis.data.files.compression import compression_of, decompressed
from tamis.data.files.csv_dialect import declared_separator
from tamis.data.files.csv_reader import newline_of
from tamis.data.files.encoding import decode_line, transcoded, wide_encoding
from tamis.data.files.faulty_rows import FaultyRows
from tamis.data.files.mail_headers import usual_fields
from tamis.data.files.messages import Messages
from tamis.data.files.named_rows import SAMPLE_ROWS
from tamis.data.files.table_messages import delimited_messages, json_messages, table_layout
from tamis.data.files.text_messages import line_messages, mailbox_messages, split_at_returns
from tamis.errors import DataError

_MARK = b"\xef\xbb\xbf"
_STRUCTURED = re.compile(r"[\t,;{\[]|From |[!-9;-~]+[ \t]*:|sep=|\x01{4}", re.IGNORECASE)


def stream_name(stream: object) -> str:
    """Return the name of a stream in messages."""
    name = str(getattr(stream, "name", STANDARD_INPUT))
    return STANDARD_INPUT if name in ("<stdin>", "0") else name


def stream_messages(
    stream: BinaryIO | TextIO | Iterable[bytes],
    text: str | None,
    header: bool | None,
    name: str | None = None,
) -> Messages:
    """Return the messages of a stream; see `message_reader.read_messages`.

    Raises:
        DataError: the stream is binary, or a table without a text column; while reading: a line or
            a row is faulty.
    """
    name = name or stream_name(stream)
    lines, utf8 = utf8_lines(getattr(stream, "buffer", stream), name)
    first = next(lines, b"")
    second: list[bytes] = []
    if firm(text) is None and header is None and first.removeprefix(_MARK).startswith(b"From "):
        # A text may begin with "From "; a mailbox has a header next.
        second = list(islice(lines, 1))
        if mail_reader.is_mbox(b"".join([first, *second])):
            return mailbox_messages(chain([first], second, lines), name, utf8=utf8)
    rest = chain([first] if first else [], second, lines)
    decoded = (decode_line(line, number, name) for number, line in enumerate(rest, 1))
    if first.removeprefix(_MARK).startswith(b"{") and json_reader.begins_like_json(
        decode_line(first, 1, name).removeprefix("\ufeff")
    ):
        rows = json_reader.json_rows(_without_mark(decoded), name)
        return json_messages("jsonl", FaultyRows(name, at_once=True), rows, text, ())
    if first.startswith(b"[") and json_reader.begins_like_json(first.decode("latin-1")):
        array = json_reader.json_array("".join(decoded), name)
        return json_messages("json", FaultyRows(name), array, text, ())
    if firm(text) is None and header is None:
        returns = first.endswith(b"\r")
        return line_messages(_without_mark(decoded), name, _advice(first, name), returns=returns)
    # One generator for all lines: closing the one that gave the first would close `decoded` too.
    unmarked = _without_mark(decoded)
    held = list(islice(unmarked, SAMPLE_ROWS))
    found = table_layout("".join(held), whole=len(held) < SAMPLE_ROWS, sure=True)
    lines_ = chain(held, unmarked)
    return delimited_messages(
        lines_ if newline_of(found.layout, "\n") == "\n" else _at_returns(lines_),
        found,
        name,
        (text, header),
        (),
        at_once=True,
    )


def _advice(first: bytes, name: str) -> tuple[str, ...]:
    """Return a note if the first line of a text looks like the beginning of a mail or a table."""
    if usual_fields([first.removeprefix(_MARK).rstrip(b"\r\n")], certain=True):
        kind = "a mail"
    elif declared_separator(first.decode("utf-8", "replace").removeprefix("\ufeff")):
        kind = "a table"
    else:
        line = first.decode("utf-8", "replace").removeprefix("\ufeff")
        cells = [plain_name(cell) for cell in re.split(r"[\t,;]", line)]
        names = all(re.fullmatch(r"\w[\w.]{0,30}", cell) for cell in cells)
        if len(cells) < 2 or not names or not set(cells) & set(TEXT_NAMES):
            return ()
        kind = "a table with a header"
    return (
        f"{name} begins like {kind}, but each of its lines is read as one text; to read {kind}, "
        "give --file -.",
    )


def utf8_lines(stream: Iterable[bytes] | Iterable[str], name: str) -> tuple[Iterator[bytes], bool]:
    """Return the lines of a stream, decompressed, and whether they were transcoded to UTF-8.

    Raises:
        DataError: the stream has a binary format; while reading: its compression is damaged.
    """
    lines: Iterator[bytes] = _as_bytes(stream)
    first = next(lines, b"")
    if compression_of(first):
        lines = _lines_of(decompressed(chain([first], lines), name))
        first = next(lines, b"")
    if first.startswith(parquet_reader.MAGIC):
        raise DataError(
            f"{name}: Parquet cannot be read from a stream; save it as a file and give the file"
        )
    wide = wide_encoding(first)
    if wide:
        lines = _lines_of(transcoded(chain([first], lines), wide, name))
        first = next(lines, b"")
    elif may_begin_binary(first):
        second = next(lines, b"")
        refuse_binary(first + second, name)
        lines = chain([second] if second else [], lines)
    else:
        refuse_binary(first, name)
    if b"\r" in first and not first.endswith(b"\n"):
        first, *more = split_at_returns(first)
        lines = chain(more, lines)
    return chain([first] if first else [], lines), bool(wide)


def is_plain_line(line: bytes) -> bool:
    """Return whether a file that begins with this line can only be lines of text: it has no
    delimiter, and does not begin like a mail, JSON or a binary format.
    """
    if b"\0" in line or not line.strip() or not line.endswith(b"\n") or compression_of(line):
        return False
    return not (
        wide_encoding(line)
        or line.startswith(parquet_reader.MAGIC)
        or re.search(rb"[\x01-\x08\x0e-\x1f]", line)
        or re.search(r"[\t,;]", line.decode("latin-1"))
        or _STRUCTURED.match(line.decode("utf-8", "replace").removeprefix("\ufeff"))
    )


def one_message_text(content: bytes) -> str:
    """Return the text of one message: a mail, with or without a separator line, or plain text.

    Raises:
        DataError: it is neither a mail nor a text.
    """
    content = b"".join(decompressed([content], STANDARD_INPUT))
    if mail_reader.is_mail(content[: 1 << 18]):
        return mail_reader.read_mail(content).text
    refuse_binary(content, STANDARD_INPUT, "a text or a mail")
    wide = wide_encoding(content)
    if wide:
        content = b"".join(transcoded([content], wide, STANDARD_INPUT))
    text = decode_line(content, 1, STANDARD_INPUT).removeprefix("\ufeff")
    return text.removesuffix("\n").removesuffix("\r")


def _as_bytes(stream: Iterable[bytes] | Iterable[str]) -> Iterator[bytes]:
    for line in stream:
        yield line.encode("utf-8") if isinstance(line, str) else line


def _lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    for piece in pieces:
        *lines, rest = piece.split(b"\n")
        for line in lines:
            yield b"".join(held) + line + b"\n"
            held = []
        if rest:
            held.append(rest)
    if held:
        yield b"".join(held)


def _without_mark(lines: Iterator[str]) -> Iterator[str]:
    first = next(lines, None)
    if first is not None:
        yield first.removeprefix("\ufeff")
        yield from lines


def _at_returns(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines that end at LF, CR LF or a single CR, as files are read."""
    for line in lines:
        yield from io.StringIO(line, newline="")
