"""Messages to classify, read one at a time: lines of text, tables with any columns, or mails.

Owns the detection of the format of a file or stream. `row_writer` writes the predictions. A label
column is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TextIO

from tamis.data.files import excel_reader, json_reader, mail_reader, parquet_reader
from tamis.data.files.binary_formats import refuse_binary
from tamis.data.files.byte_sources import (
    LocalFile,
    is_piped,
    local_file,
    open_bytes,
    source_name,
    temporary_copy,
)
from tamis.data.files.columns import firm
from tamis.data.files.csv_dialect import declared_separator
from tamis.data.files.csv_reader import newline_of
from tamis.data.files.encoding import encoding_of_file, transcoded, wide_encoding
from tamis.data.files.faulty_rows import FaultyRows
from tamis.data.files.message_streams import is_plain_line, one_message_text, stream_messages
from tamis.data.files.messages import Message, Messages
from tamis.data.files.row_writer import write_rows
from tamis.data.files.table_messages import (
    delimited_messages,
    excel_messages,
    json_messages,
    parquet_messages,
    table_layout,
)
from tamis.data.files.text_messages import (
    ends_lines_with_returns,
    is_maildir,
    line_messages,
    mail_messages,
    mailbox_messages,
    maildir_messages,
)
from tamis.errors import DataError

__all__ = ["Message", "Messages", "read_messages", "read_one_message", "write_rows"]

_HEAD_BYTES = 1 << 18
_TABLE_ENDINGS = frozenset((".csv", ".tsv", ".tab"))
_MAILBOX_ENDINGS = frozenset((".mbox", ".mbx"))


def read_messages(
    source: str | Path | BinaryIO | TextIO, *, text: str | None = None, header: bool | None = None
) -> Messages:
    r"""Read the messages of a file or a stream.

    The content decides the format of a file: Parquet, Excel, mbox, a mail, JSONL, a JSON array, or
    a table with a delimiter, also compressed with gzip, bzip2 or xz. The file name decides only if
    the content does not: `.txt` has one text per line even if lines contain commas; `.csv` and
    `.tsv` are tables. A pipe, or "-" for standard input, is read as a file without a name. A folder
    may be a Maildir.

    The first line decides the format of a stream (stdin), so that answers can follow line by line:
    an object is JSONL, "From " before a header is mbox, anything else is one text per line.

    `text` names the text column, and so requires a table; a `columns.UsualColumn` does not.
    `header` says whether the first row of a table names its columns; None: decided by its content.
    The end of a line is not part of its text. An empty line is an empty text, so answers keep the
    line numbers.

    Raises:
        DataError: at once, if the file is missing, a directory, binary or of an unknown encoding,
            or if its text column is ambiguous; while reading, if a row is broken (the message names
            the line).
        MissingExtraError: it is Parquet and polars is not installed.
    """
    if isinstance(source, str | Path):
        return _from_path(Path(source), text, header)
    return stream_messages(source, text, header)


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
    return Message(one_message_text(content), line=1)


def _from_path(path: Path, text: str | None, header: bool | None) -> Messages:
    if not is_piped(path):
        if path.is_dir() and is_maildir(path):
            return maildir_messages(path)
        return _from_local(local_file(path), text, header)
    name, lines = source_name(path), _piped_lines(path)
    first = next(lines, b"")
    rest = chain([first], lines)
    if firm(text) is None and header is None and is_plain_line(first):
        # Nothing can make this a table or a mail, so answers need not wait for the end.
        return stream_messages(rest, text, header, name)
    return _from_local(temporary_copy(rest, name), text, header)


def _piped_lines(path: Path) -> Iterator[bytes]:
    with open_bytes(path) as stream:
        yield from stream


def _from_local(file: LocalFile, text: str | None, header: bool | None) -> Messages:
    found = _of_format(file, text, header)
    found.held = file  # a temporary copy lives as long as its messages
    return found


def _of_format(file: LocalFile, text: str | None, header: bool | None) -> Messages:
    name, ending = file.name, file.ending
    with file.path.open("rb") as opened_:
        head = opened_.read(_HEAD_BYTES)
    asked = firm(text)
    lines_only = ending == ".txt" and asked is None and header is None
    if head.startswith(parquet_reader.MAGIC):
        return parquet_messages(file.path, text, name)
    if excel_reader.begins_like_excel(head):
        return excel_messages(file.path, text, header, name)
    if not lines_only and asked is None and ending not in _TABLE_ENDINGS:
        mails = _mails(file, head)
        if mails is not None:
            return mails
    refuse_binary(head, name)
    encoding = encoding_of_file(file.path, name)
    with file.path.open(encoding=encoding.name, newline="") as opened:
        start = opened.read(_HEAD_BYTES)
        whole = not opened.read(1)
    # Excel writes `sep=` into tables only, whatever their names are.
    lines_only = lines_only and declared_separator(start) is None
    returns = ends_lines_with_returns(start)
    lines = _text_lines(file, encoding.name, "" if returns else "\n")
    if not lines_only and json_reader.begins_like_json(start):
        if start.lstrip().startswith("["):
            rows = json_reader.json_array("".join(lines), name)
            return json_messages("json", FaultyRows(name), rows, text, encoding.notes)
        faults = FaultyRows(name)
        rows = json_reader.json_rows(lines, name, faults)
        return json_messages("jsonl", faults, rows, text, encoding.notes)
    sure = asked is not None or ending in _TABLE_ENDINGS or header is not None
    found = None if lines_only else table_layout(start, whole=whole, sure=sure)
    if found is None:
        return line_messages(lines, name, encoding.notes, returns=returns)
    lines = _text_lines(file, encoding.name, newline_of(found.layout, start))
    return delimited_messages(lines, found, name, (text, header), encoding.notes)


def _mails(file: LocalFile, head: bytes) -> Messages | None:
    wide = wide_encoding(head)
    shown = b"".join(transcoded([head], wide, file.name, whole=False)) if wide else head
    if mail_reader.is_mbox(shown) or file.ending in _MAILBOX_ENDINGS:
        refuse_binary(head, file.name, "a mailbox (mbox)")
        return mailbox_messages(_byte_lines(file, shown, wide), file.name, utf8=bool(wide))
    if file.ending == ".eml" or mail_reader.is_mail(head):
        if not mail_reader.is_mail(head):
            refuse_binary(head, file.name, "a mail")
        return mail_messages("eml", file.name, [mail_reader.read_mail(file.path.read_bytes())])
    return None


def _text_lines(file: LocalFile, encoding: str, newline: str) -> Iterator[str]:
    with file.path.open(encoding=encoding, newline=newline) as opened:
        try:
            yield from opened
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file.name}: byte {error.start} of the last block read is not {encoding} "
                f"({error.reason}); save the file as UTF-8"
            ) from None


def _byte_lines(file: LocalFile, shown: bytes, wide: str | None) -> Iterator[bytes]:
    """Yield the lines of a mailbox in UTF-8; `shown` is its beginning in UTF-8."""
    if not wide and b"\n" in shown:
        with file.path.open("rb") as opened:
            yield from opened
        return
    # The rest is rare: UTF-16, and lines that end with CR alone.
    content = file.path.read_bytes()
    if wide:
        content = b"".join(transcoded([content], wide, file.name))
    yield from content.splitlines(keepends=True)
