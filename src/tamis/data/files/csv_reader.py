"""Comma-, semicolon- and tab-separated text: delimiter, quoting and the fields of each row.

`columns` decides which column is the text. The reader accepts fields of any length and reads the
quoting of RFC 4180 as Python's `csv` (not strict) and pandas' C parser do; tests compare it with
both.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tamis.data.files.columns import count_roles
from tamis.errors import DataError

DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon"}
_SAMPLE_CHARACTERS = 1 << 18
_SAMPLE_RECORDS = 200
# Inside an open quoted field: everything up to and including the closing quote; a doubled quote is
# one quote of the text.
_TO_CLOSING_QUOTE = re.compile(r'((?:[^"]|"")*+)"')
Kind = Literal["plain", "quoted", "broken"]


class Record(NamedTuple):
    """One row: the 1-based line where it begins, its fields, and how each field was written.

    Kinds: "plain", "quoted", and "broken" (quotes in a place where no writer puts them).
    """

    line: int
    fields: list[str]
    kinds: list[Kind]


@dataclass(frozen=True)
class Layout:
    """The delimiter of a text, and whether its quotes quote fields."""

    delimiter: str
    quoted: bool

    @property
    def format(self) -> str:
        """The common name of the format: "csv" or "tsv"."""
        return "tsv" if self.delimiter == "\t" else "csv"


def lines_of(text: str, *, quoted: bool) -> Iterator[str]:
    """Split text into lines, keeping their ends.

    Quoted text ends lines at LF, CR LF and CR; unquoted text only at LF, or at CR if it has no LF.
    """
    if not quoted and "\n" in text:
        return iter(io.StringIO(text, newline="\n"))
    return iter(io.StringIO(text, newline=""))


def records(
    lines: Iterable[str], layout: Layout, source: str, *, first_line: int = 1
) -> Iterator[Record]:
    """Yield the rows of `lines` (each with its end), one at a time; blank lines are skipped.

    Raises:
        DataError: a quoted field is opened and never closed.
    """
    delimiter, start = layout.delimiter, first_line
    fields: list[str] = []
    kinds: list[Kind] = []
    pieces: list[str] | None = None  # content of the open quoted field so far
    for number, line in enumerate(lines, first_line):
        if pieces is None:
            start, fields, kinds = number, [], []
            body = line.rstrip("\n").removesuffix("\r") if line.endswith(("\n", "\r")) else line
            if not body:
                continue
            if not layout.quoted or '"' not in body:
                fields = body.split(delimiter)
                yield Record(start, fields, ["plain"] * len(fields))
                continue
        position: int | None = 0
        while position is not None:
            if pieces is None and not line.startswith('"', position):
                end, following = _plain_end(line, position, delimiter)
                fields.append(line[position:end])
                kinds.append("broken" if '"' in fields[-1] else "plain")
                position = following
                continue
            if pieces is None:
                pieces, position = [], position + 1
            closing = _TO_CLOSING_QUOTE.match(line, position)
            if closing is None:
                pieces.append(line[position:])
                break
            pieces.append(closing.group(1))
            end, following = _plain_end(line, closing.end(), delimiter)
            tail = line[closing.end() : end]
            fields.append("".join(pieces).replace('""', '"') + tail)
            kinds.append("broken" if tail else "quoted")
            pieces, position = None, following
        if pieces is None:
            yield Record(start, fields, kinds)
    if pieces is not None:
        raise DataError(
            f"{source} line {start}: a quoted field begins in this row and is never closed; "
            'close it, or write a quote inside a text as ""'
        )


def wrong_width(record: Record, expected: int, source: str, layout: Layout) -> DataError:
    """Return the error for a row that has more or fewer fields than the others."""
    mark = DELIMITERS[layout.delimiter]
    remedy = (
        "quote texts that contain the delimiter"
        if layout.quoted
        else f"replace a {mark} inside a text with a space"
    )
    return DataError(
        f"{source} line {record.line}: expected {expected} fields separated by {mark}, found "
        f"{len(record.fields)}; fix the row ({remedy})"
    )


def _plain_end(line: str, position: int, delimiter: str) -> tuple[int, int | None]:
    """Return the end of an unquoted field and the start of the next (None: the row ends here)."""
    end = line.find(delimiter, position)
    if end >= 0:
        return end, end + 1
    end = len(line)
    if line.endswith("\n", position, end):
        end -= 1
    if line.endswith("\r", position, end):
        end -= 1
    return end, None


def sniff(text: str, *, whole: bool = True) -> Layout | None:
    """Detect the layout of `text` from its content; None if no delimiter divides it into columns.

    `whole` is False if `text` is only the beginning of a file. Comma- or semicolon-separated text
    is always read as quoted, tab-separated text only if its quotes clearly quote fields.
    """
    best: tuple[int, float, str] | None = None
    for delimiter in DELIMITERS:
        quotings = (False, True) if delimiter == "\t" else (True,)
        scores = [
            _fit(_sample(text, Layout(delimiter, quoted), whole), text) for quoted in quotings
        ]
        roles, share = max(scores)
        if (share > 0.5 or roles) and (best is None or (roles, share) > best[:2]):
            best = (roles, share, delimiter)
    if best is None:
        return None
    delimiter = best[2]
    return Layout(delimiter, delimiter != "\t" or quoting_is_evident(text, delimiter, whole=whole))


def regularity(text: str, layout: Layout, *, whole: bool = True) -> tuple[int, int, float]:
    """Return three figures of the first rows: their number, the known column names in the first
    row, and the share of rows that have the most frequent width (0 for width 1).
    """
    rows = _sample(text, layout, whole)
    roles, share = _fit(rows, text)
    return len(rows), roles, share


def _sample(text: str, layout: Layout, whole: bool) -> list[list[str]]:
    if len(text) > _SAMPLE_CHARACTERS:
        # The sample must contain the whole first row, even if that row has a megabyte.
        end = text.find("\n", _SAMPLE_CHARACTERS)
        text, whole = (text, whole) if end < 0 else (text[: end + 1], False)
    rows: list[list[str]] = []
    try:
        for record in records(lines_of(text, quoted=layout.quoted), layout, ""):
            rows.append(record.fields)
            if len(rows) == _SAMPLE_RECORDS:
                break
    except DataError:
        if whole:
            rows.append([])  # counts the unclosed rest as an irregular row
    return rows


def _fit(rows: Sequence[Sequence[str]], text: str) -> tuple[int, float]:
    if not rows:
        return 0, 0.0
    width, times = (
        Counter(len(row) for row in rows if len(row) > 1).most_common(1)[0]
        if any(len(row) > 1 for row in rows)
        else (1, 0)
    )
    roles = count_roles(rows[0]) if len(rows[0]) > 1 else 0
    return roles, times / len(rows) if width > 1 else 0.0


def quoting_is_evident(text: str, delimiter: str, *, whole: bool = True) -> bool:
    """Return whether the quotes of a tab-separated text quote fields and are not part of the texts.

    False if a quote is where no writer puts it: an opened field that does not close right before
    the delimiter, or an unquoted field with a quote inside. Otherwise true in each of three cases:
    every field is quoted; quoted fields contain delimiters or line ends and only the quoted reading
    gives rows of one width; or exactly those fields are quoted that need it (or whole columns, as R
    and some exports write). One single "text" in quotes is not enough.
    """
    if not re.search(rf'(?:^|{re.escape(delimiter)})"', text, re.MULTILINE):
        return False
    rows: list[Record] = []
    try:
        for record in records(lines_of(text, quoted=True), Layout(delimiter, quoted=True), ""):
            if "broken" in record.kinds:
                return False
            rows.append(record)
    except DataError:
        if whole:
            return False
    if not rows or all(kind == "plain" for row in rows for kind in row.kinds):
        return False
    if all(kind == "quoted" for row in rows for kind in row.kinds):
        return True
    spanning = any(
        kind == "quoted" and any(mark in field for mark in (delimiter, "\n", "\r"))
        for row in rows
        for field, kind in zip(row.fields, row.kinds, strict=True)
    )
    if spanning:
        bare = records(lines_of(text, quoted=False), Layout(delimiter, quoted=False), "")
        return _off_width([len(row.fields) for row in rows]) < _off_width(
            [len(row.fields) for row in bare]
        )
    return _quoted_by_rule(rows)


def _off_width(widths: Sequence[int]) -> int:
    """Return the number of rows that do not have the most frequent width."""
    return len(widths) - Counter(widths).most_common(1)[0][1]


def _quoted_by_rule(rows: Sequence[Record]) -> bool:
    """Return whether every quoted field has a reason: it contains a quote, its whole column is
    quoted, or the file quotes all fields that contain a comma.
    """
    cells = [
        (column, field, kind)
        for row in rows
        for column, (field, kind) in enumerate(zip(row.fields, row.kinds, strict=True))
    ]
    needless = [
        (column, field)
        for column, field, kind in cells
        if kind == "quoted" and field and '"' not in field
    ]
    if not needless:
        return any(kind == "quoted" and '"' in field for _, field, kind in cells)
    # The first row may be a header, which some writers do not quote.
    below = [row for row in rows[1:] if row.fields != [""]]
    throughout = {
        column
        for column in {column for column, _ in needless}
        if len(below) > 1
        and all(len(row.kinds) > column and row.kinds[column] == "quoted" for row in below)
    }
    rest = [(column, field) for column, field in needless if column not in throughout]
    if not rest:
        return True
    # Spreadsheets quote a field with a comma even in tab-separated files; three such fields and no
    # exception are enough.
    bare_comma = any(kind == "plain" and "," in field for _, field, kind in cells)
    return len(rest) > 2 and all("," in field for _, field in rest) and not bare_comma
