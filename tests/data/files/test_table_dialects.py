"""Tables of any dialect, written by Python's csv and by pandas, are read back equal."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.files.message_reader import read_messages
from tamis.data.tables import read_table

Rows = list[tuple[str, str]]

DELIMITERS = (",", ";", "\t", "|")
QUOTINGS = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252")
HEADERS = (
    ("label", "text"),
    ("Category", "Message"),
    ("mood", "words"),
    ("Is this message spam?", "Paste the message here:"),
)
LABELS = (("ham", "spam"), ("0", "1"), ("no", "yes", "maybe"), ("not spam", "spam; sure"))
WORDS = "see you at six call me when you get home WIN a free prize now café it's 5 £100".split()


@dataclass(frozen=True)
class Dialect:
    """How a table is written."""

    delimiter: str
    quoting: int
    line_end: str
    encoding: str
    header: tuple[str, str] | None
    declared: bool
    """begins with Excel's line `sep=`"""
    text_first: bool
    index: bool
    """has row numbers in a first column without a name"""

    def columns(self, rows: Rows) -> list[list[str]]:
        """The rows as they stand in the file, without header and index."""
        return [[text, label] if self.text_first else [label, text] for label, text in rows]

    def names(self) -> list[str] | None:
        if self.header is None:
            return None
        label, text = self.header
        return [text, label] if self.text_first else [label, text]


@st.composite
def tables(draw: st.DrawFn) -> tuple[Rows, Dialect]:
    """Between 12 and 16 rows; the texts have words, quotes, delimiters and line ends."""
    line_end = draw(st.sampled_from(("\n", "\r\n", "\r")))
    marks: tuple[str, ...] = ('"', '""', ",", "; ", "|", "'", "\\", " - ")
    # Neither writer quotes a line feed in a file whose lines end with a carriage return.
    marks += () if line_end == "\r" else ("\n",)
    pieces = st.sampled_from(WORDS) | st.sampled_from(marks)
    texts = st.lists(pieces, min_size=4, max_size=7).map(" ".join)
    classes = draw(st.sampled_from(LABELS))
    found = draw(st.lists(texts, min_size=12, max_size=16))
    # A label that occurs once in the first row of a table without header could be a name.
    rows = [(classes[i % len(classes)], f"{text} {i}") for i, text in enumerate(found)]
    header = draw(st.sampled_from((None, *HEADERS)))
    dialect = Dialect(
        draw(st.sampled_from(DELIMITERS)),
        draw(st.sampled_from(QUOTINGS)),
        line_end,
        draw(st.sampled_from(ENCODINGS)),
        header,
        draw(st.booleans()),
        draw(st.booleans()),
        header is not None and draw(st.booleans()),
    )
    return rows, dialect


def by_csv(rows: Rows, dialect: Dialect) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(
        buffer,
        delimiter=dialect.delimiter,
        quoting=dialect.quoting,  # type: ignore[arg-type]
        lineterminator=dialect.line_end,
    )
    names, body = dialect.names(), dialect.columns(rows)
    if dialect.index:
        body = [[str(number), *row] for number, row in enumerate(body)]
        names = ["", *names] if names is not None else None
    writer.writerows([*([] if names is None else [names]), *body])
    return buffer.getvalue()


def by_pandas(rows: Rows, dialect: Dialect) -> str:
    names = dialect.names()
    frame = pd.DataFrame(dialect.columns(rows), columns=names)
    found = frame.to_csv(  # type: ignore[call-overload]  # quoting is one of csv's constants
        sep=dialect.delimiter,
        quoting=dialect.quoting,
        lineterminator=dialect.line_end,
        header=names is not None,
        index=dialect.index,
    )
    return str(found)


@settings(max_examples=60)
@given(tables())
@pytest.mark.parametrize("written", [by_csv, by_pandas])
def test_a_table_of_any_dialect_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, written: object, table: tuple[Rows, Dialect]
) -> None:
    rows, dialect = table
    assert callable(written)
    content = written(rows, dialect)
    if dialect.declared:
        content = f"sep={dialect.delimiter}{dialect.line_end}{content}"
    path: Path = tmp_path_factory.getbasetemp() / "dialect.csv"
    path.write_bytes(content.encode(dialect.encoding))

    read = read_table(path)

    assert list(zip(read.labels, read.texts, strict=True)) == rows
    assert read.has_header == (dialect.header is not None)
    if dialect.header is not None:
        messages = read_messages(path, text=dialect.header[1])
        assert [message.text for message in messages] == [text for _, text in rows]
