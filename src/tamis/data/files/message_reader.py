"""Messages to classify, read one at a time: lines of text, tables with any columns, or mails.

Owns the detection of the format of a file or stream. `row_writer` writes the predictions. A label
column is not needed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, TextIO

from tamis.data.files import csv_reader, json_reader, mail_reader, parquet_reader
from tamis.data.files.columns import find_text, is_header
from tamis.data.files.encoding import decode_line, encoding_of_file
from tamis.data.files.row_writer import write_rows
from tamis.data.files.table_reader import SAMPLE_ROWS, header_names
from tamis.errors import DataError

__all__ = ["Message", "Messages", "read_messages", "read_one_message", "write_rows"]

_HEAD_BYTES = 1 << 18
_TABLE_ENDINGS = frozenset((".csv", ".tsv", ".tab"))


@dataclass(frozen=True)
class Message:
    """A text to classify.

    `columns` are all columns of the row, in the order of the file; `line` is 1-based.
    """

    text: str
    columns: dict[str, object] = field(default_factory=dict)
    line: int = 0


@dataclass
class Messages:
    """An iterator of `Message` with the format, the text column and notes for the user.

    `format` is "text", "csv", "tsv", "jsonl", "json", "parquet", "eml" or "mbox".
    """

    format: str
    text_column: str
    source: str
    notes: tuple[str, ...]
    _rows: Iterator[Message] = field(repr=False)

    def __iter__(self) -> Iterator[Message]:
        """Return self."""
        return self

    def __next__(self) -> Message:
        """Return the next message."""
        return next(self._rows)


def read_messages(source: str | Path | BinaryIO | TextIO, *, text: str | None = None) -> Messages:
    r"""Read the messages of a file or a stream.

    The content decides the format of a file: Parquet, mbox, a mail, JSONL, a JSON array, or a table
    with a delimiter. The file name decides only if the content does not: `.txt` has one text per
    line even if lines contain commas; `.csv` and `.tsv` are tables. The first line decides the
    format of a stream (stdin), so that answers can follow line by line: an object is JSONL, "From "
    is mbox, anything else is one text per line. `text` names the text column, and so requires a
    table. The end of a line is not part of its text. An empty line is an empty text, so answers
    keep the line numbers.

    Raises:
        DataError: at once, if the file is missing, a directory or of an unknown encoding, or if its
            text column is ambiguous; while reading, if a row is broken (the message names the
            line).
        MissingExtraError: it is Parquet and polars is not installed.
    """
    if isinstance(source, str | Path):
        return _from_file(Path(source), text)
    return _from_stream(source, text)


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


def _from_file(path: Path, text: str | None) -> Messages:
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
        return _parquet_messages(path, text)
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
            return _json_messages("json", name, rows, text, encoding.notes)
        return _json_messages(
            "jsonl",
            name,
            json_reader.json_rows(_text_lines(path, encoding.name, "\n"), name),
            text,
            encoding.notes,
        )
    layout = (
        None
        if lines_only
        else _layout(start, whole=whole, sure=text is not None or ending in _TABLE_ENDINGS)
    )
    if layout is None:
        numbered = enumerate(_text_lines(path, encoding.name, "\n"), 1)
        rows_ = (_line_message(line, number) for number, line in numbered)
        return Messages("text", "text", name, encoding.notes, rows_)
    newline = "" if layout.quoted or "\n" not in start else "\n"
    return _table_messages(
        _text_lines(path, encoding.name, newline), layout, name, text, encoding.notes
    )


def _from_stream(stream: BinaryIO | TextIO, text: str | None) -> Messages:
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
        return _json_messages(
            "jsonl", name, json_reader.json_rows(_without_mark(decoded), name), text, ()
        )
    if text is None:
        rows = (
            _line_message(line, number) for number, line in enumerate(_without_mark(decoded), 1)
        )
        return Messages("text", "text", name, (), rows)
    held = list(islice(_without_mark(decoded), SAMPLE_ROWS))
    layout = csv_reader.sniff("".join(held), whole=len(held) < SAMPLE_ROWS) or csv_reader.Layout(
        "\t", quoted=False
    )
    return _table_messages(
        _at_returns(chain(held, decoded)) if layout.quoted else chain(held, decoded),
        layout,
        name,
        text,
        (),
    )


def _layout(start: str, *, whole: bool, sure: bool) -> csv_reader.Layout | None:
    """Return the layout of a table, or None if each line is one text.

    `sure`: the file name or the user says that it is a table.
    """
    layout = csv_reader.sniff(start, whole=whole)
    if sure:
        # A single column has no delimiter; quotes are read as a CSV writer sets them.
        return layout or csv_reader.Layout(",", quoted=True)
    if layout is None:
        return None
    rows, roles, share = csv_reader.regularity(start, layout, whole=whole)
    # Commas are frequent in texts: they separate columns only under a header with a known name.
    # Tabs are rare in texts.
    return layout if rows > 1 and share == 1.0 and (roles or layout.delimiter == "\t") else None


def _table_messages(
    lines: Iterable[str],
    layout: csv_reader.Layout,
    name: str,
    text: str | None,
    notes: tuple[str, ...],
) -> Messages:
    rows = csv_reader.records(lines, layout, name)
    sample = list(islice(rows, SAMPLE_ROWS))
    if not sample:
        raise DataError(
            f"{name}: expected rows, found an empty file; give a table with a text in each row"
        )
    head, rest = sample[0].fields, [record.fields for record in sample[1:]]
    header = is_header(head, rest, named=[] if text is None else [text])
    names = (
        header_names(head)
        if header
        else tuple(str(position) for position in range(1, len(head) + 1))
    )
    data = sample[1:] if header else sample
    column = find_text(names, [record.fields for record in data], source=name, requested=text)
    if len(set(names)) < len(names):
        raise DataError(
            f"{name}: two columns have the same name ({', '.join(map(repr, names))}); rename "
            "one of them"
        )

    def messages() -> Iterator[Message]:
        for record in chain(data, rows):
            if len(record.fields) != len(names):
                raise csv_reader.wrong_width(record, len(names), name, layout)
            yield Message(
                record.fields[column], dict(zip(names, record.fields, strict=True)), record.line
            )

    return Messages(layout.format, names[column], name, notes, messages())


def _json_messages(
    format_: str,
    name: str,
    rows: Iterator[json_reader.JsonRow],
    text: str | None,
    notes: tuple[str, ...],
) -> Messages:
    # One object is enough if it names the text column; a stream must not wait for more.
    first = next(rows, None)
    if first is None:
        raise DataError(f"{name}: expected JSON objects, found none; give at least one")
    names = tuple(first.values)
    strings = [
        ["" if not isinstance(first.values[key], str) else str(first.values[key]) for key in names]
    ]
    column = (
        names[find_text(names, strings, source=f"{name} line {first.line}", requested=text)]
        if names
        else "text"
    )

    def messages() -> Iterator[Message]:
        for row in chain([first], rows):
            yield _checked(
                row.values.get(column),
                dict(row.values),
                row.line,
                f"{name} line {row.line}",
                column,
            )

    return Messages(format_, column, name, notes, messages())


def _parquet_messages(path: Path, text: str | None) -> Messages:
    names, rows = parquet_reader.parquet_rows(path)
    sample = list(islice(rows, SAMPLE_ROWS))
    shown = [["" if not isinstance(value, str) else value for value in row] for row in sample]
    column = find_text(names, shown, source=str(path), requested=text)

    def messages() -> Iterator[Message]:
        for number, row in enumerate(chain(sample, rows), 1):
            values = dict(zip(names, row, strict=True))
            yield _checked(row[column], values, number, f"{path} row {number}", names[column])

    return Messages("parquet", names[column], str(path), (), messages())


def _checked(
    value: object, columns: dict[str, object], line: int, place: str, column: str
) -> Message:
    if not isinstance(value, str):
        found = "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"
        raise DataError(
            f"{place}: expected a text in column {column!r}, found {found}; make it a string or "
            "choose another column with --text"
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(
                f"{place}: column {column!r} contains half of a surrogate pair, which is not a "
                "character; remove it"
            ) from None
    return Message(value, columns, line)


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
