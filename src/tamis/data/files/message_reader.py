"""Messages to classify, read one at a time: lines of text, tables with any columns, or mails.

Owns the detection of the format of a file or stream. `row_writer` writes the predictions. A label
column is not needed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, TextIO

from tamis.data.faulty_rows import FaultyRows
from tamis.data.files import excel_reader, json_reader, mail_reader, parquet_reader
from tamis.data.files.encoding import decode_line, encoding_of_file
from tamis.data.files.messages import Message, Messages
from tamis.data.files.named_rows import SAMPLE_ROWS
from tamis.data.files.row_writer import write_rows
from tamis.data.files.table_messages import (
    delimited_messages,
    excel_messages,
    json_messages,
    parquet_messages,
    table_layout,
)
from tamis.errors import DataError

__all__ = ["Message", "Messages", "read_messages", "read_one_message", "write_rows"]

_HEAD_BYTES = 1 << 18
_TABLE_ENDINGS = frozenset((".csv", ".tsv", ".tab"))


def read_messages(
    source: str | Path | BinaryIO | TextIO, *, text: str | None = None, header: bool | None = None
) -> Messages:
    r"""Read the messages of a file or a stream.

    The content decides the format of a file: Parquet, Excel, mbox, a mail, JSONL, a JSON array, or
    a table with a delimiter. The file name decides only if the content does not: `.txt` has one
    text per line even if lines contain commas; `.csv` and `.tsv` are tables. The first line decides
    the format of a stream (stdin), so that answers can follow line by line: an object is JSONL,
    "From " is mbox, anything else is one text per line. `text` names the text column, and so
    requires a table. `header` says whether the first row of a table names its columns; None:
    decided by its content. The end of a line is not part of its text. An empty line is an empty
    text, so answers keep the line numbers.

    Raises:
        DataError: at once, if the file is missing, a directory or of an unknown encoding, or if its
            text column is ambiguous; while reading, if a row is broken (the message names the
            line).
        MissingExtraError: it is Parquet and polars is not installed.
    """
    if isinstance(source, str | Path):
        return _from_file(Path(source), text, header)
    return _from_stream(source, text, header)


def read_one_message(stream: BinaryIO | TextIO) -> Message:
    """Read a whole stream as one message: a mail (with or without mbox line), else plain text.

    Raises:
        DataError: the stream is empty, or it is not a mail and its bytes are not text.
    """
    raw = getattr(stream, "buffer", stream)
    content = raw.read()
    if not content:
        raise DataError(
            "standard input: expected a text or a mail, found nothing; pipe one in, or give the "
            "text as an argument"
        )
    content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    envelope, _, below = content.partition(b"\n")
    if envelope.startswith(b"From ") and mail_reader.is_mail(below[:_HEAD_BYTES]):
        content = below
    if mail_reader.is_mail(content[:_HEAD_BYTES]):
        return Message(mail_reader.read_mail(content).text)
    text = decode_line(content, 1, "standard input").removeprefix("\ufeff")
    return Message(text.removesuffix("\n").removesuffix("\r"), line=1)


def _from_file(path: Path, text: str | None, header: bool | None) -> Messages:
    name = str(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
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
    ending = path.suffix.lower()
    lines_only = ending == ".txt" and text is None
    if head.startswith(parquet_reader.MAGIC):
        return parquet_messages(path, text)
    if excel_reader.begins_like_excel(head):
        return excel_messages(path, text, header)
    if not lines_only and text is None and ending not in _TABLE_ENDINGS:
        if mail_reader.is_mbox(head) or (ending == ".mbox" and head.startswith(b"From ")):
            return _mails("mbox", name, mail_reader.mbox_mails(_byte_lines(path)))
        if ending == ".eml" or mail_reader.is_mail(head):
            return _mails("eml", name, iter([mail_reader.read_mail(path.read_bytes())]))
    encoding = encoding_of_file(path)
    with path.open(encoding=encoding.name, newline="") as opened:
        start = opened.read(_HEAD_BYTES)
        whole = not opened.read(1)
    if not lines_only and json_reader.begins_like_json(start):
        if start.lstrip().startswith("["):
            rows = json_reader.json_array(path.read_text(encoding.name), name)
            return json_messages("json", FaultyRows(name), rows, text, encoding.notes)
        faults = FaultyRows(name)
        lines = _text_lines(path, encoding.name, "\n")
        rows = json_reader.json_rows(lines, name, faults)
        return json_messages("jsonl", faults, rows, text, encoding.notes)
    sure = text is not None or ending in _TABLE_ENDINGS or header is not None
    found = None if lines_only else table_layout(start, whole=whole, sure=sure)
    if found is None:
        numbered = enumerate(_text_lines(path, encoding.name, "\n"), 1)
        rows_ = (_line_message(line, number) for number, line in numbered)
        return Messages("text", "text", name, encoding.notes, rows_)
    newline = "" if found.layout.quoted or "\n" not in start else "\n"
    return delimited_messages(
        _text_lines(path, encoding.name, newline), found, name, (text, header), encoding.notes
    )


def _from_stream(stream: BinaryIO | TextIO, text: str | None, header: bool | None) -> Messages:
    name = str(getattr(stream, "name", "standard input"))
    name = "standard input" if name in ("<stdin>", "0") else name
    raw = getattr(stream, "buffer", stream)
    lines = _stream_lines(raw)
    first = next(lines, b"")
    if first.startswith(parquet_reader.MAGIC):
        raise DataError(
            f"{name}: Parquet cannot be read from a stream; save it as a file and give the file"
        )
    rest = chain([first] if first else [], lines)
    if text is None and re.match(rb"From \S.*\d{4}", first):
        return _mails("mbox", name, mail_reader.mbox_mails(rest))
    decoded = (decode_line(line, number, name) for number, line in enumerate(rest, 1))
    if first.removeprefix(b"\xef\xbb\xbf").startswith(b"{") and json_reader.begins_like_json(
        decode_line(first, 1, name).removeprefix("\ufeff")
    ):
        rows_ = json_reader.json_rows(_without_mark(decoded), name)
        return json_messages("jsonl", FaultyRows(name, at_once=True), rows_, text, ())
    if text is None and header is None:
        rows = (
            _line_message(line, number) for number, line in enumerate(_without_mark(decoded), 1)
        )
        return Messages("text", "text", name, (), rows)
    held = list(islice(_without_mark(decoded), SAMPLE_ROWS))
    found = table_layout("".join(held), whole=len(held) < SAMPLE_ROWS, sure=True)
    lines_ = chain(held, decoded)
    return delimited_messages(
        _at_returns(lines_) if found.layout.quoted else lines_,
        found,
        name,
        (text, header),
        (),
        at_once=True,
    )


def _mails(format_: str, name: str, mails: Iterator[mail_reader.Mail]) -> Messages:
    rows = (Message(each.text, {**each.headers, "text": each.text}, each.line) for each in mails)
    return Messages(format_, "text", name, (), rows)


def _line_message(line: str, number: int) -> Message:
    text = line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
    return Message(text, {"text": text}, number)


def _text_lines(path: Path, encoding: str, newline: str) -> Iterator[str]:
    with path.open(encoding=encoding, newline=newline) as file:
        try:
            yield from file
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: byte {error.start} of the last block read is not {encoding} "
                f"({error.reason}); save the file as UTF-8"
            ) from None


def _byte_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _stream_lines(stream: Iterable[bytes] | Iterable[str]) -> Iterator[bytes]:
    for line in stream:
        yield line.encode("utf-8") if isinstance(line, str) else line


def _without_mark(lines: Iterator[str]) -> Iterator[str]:
    first = next(lines, None)
    if first is not None:
        yield first.removeprefix("\ufeff")
        yield from lines


def _at_returns(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines that end at LF, CR LF or a single CR, as files are read."""
    for line in lines:
        yield from io.StringIO(line, newline="")
