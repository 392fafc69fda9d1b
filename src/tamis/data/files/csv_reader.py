"""The fields of each row of delimited text, as its layout says.

`csv_dialect` finds the layout. The reader accepts fields of any length and reads the quoting of RFC
4180 as Python's `csv` (not strict) and pandas' C parser do; tests compare it with both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tamis.errors import DataError

DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "vertical bar"}
# Inside an open quoted field: everything up to and including the closing quote; a doubled quote is
# one quote of the text.
_TO_CLOSING_QUOTE = re.compile(r'((?:[^"]|"")*+)"')
# The same where a backslash marks a quote, as Spark, MySQL and some exports write.
_TO_UNESCAPED_QUOTE = re.compile(r'((?:[^"\\]|""|\\.|\\\Z)*+)"', re.DOTALL)
_LINE = {
    "": re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+"),
    "\n": re.compile(r"[^\n]*\n|[^\n]+"),
    "\r": re.compile(r"[^\r]*\r|[^\r]+"),
    "\r\n": re.compile(r"(?s:.*?)\r\n|(?s:.+)"),
}
"""A line with its end, for each value of `newline_of`."""
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
    """How delimited text is written.

    `escaped`: a backslash before a quote, a delimiter or a backslash makes that character a part of
    the field. `spaced`: the spaces after a delimiter are not part of the field. `line_end`: the
    only characters that end a row; None: see `lines_of`.
    """

    delimiter: str
    quoted: bool
    escaped: bool = False
    spaced: bool = False
    line_end: str | None = None

    @property
    def format(self) -> str:
        """The common name of the format: "csv" or "tsv"."""
        return "tsv" if self.delimiter == "\t" else "csv"

    @property
    def mark(self) -> str:
        """The name of the delimiter, for messages."""
        return DELIMITERS.get(self.delimiter, repr(self.delimiter))


class UnclosedQuoteError(DataError):
    """A quoted field begins in a row and is never closed."""

    def __init__(self, source: str, line: int) -> None:
        """Name the row that opens the field by its 1-based line."""
        self.line = line
        self.reason = "a quoted field begins in this row and is never closed"
        self.remedy = 'close it, or write a quote inside a text as ""'
        super().__init__(f"{source} line {line}: {self.reason}; {self.remedy}")


def newline_of(layout: Layout, start: str) -> str:
    """Return the argument `newline` that makes Python's files divide a text of this layout, which
    begins with `start`, into lines.

    Unless the layout says otherwise, quoted text ends lines at LF, CR LF and CR; unquoted text only
    at LF, or at CR if it has no LF.
    """
    if layout.line_end is not None:
        return layout.line_end
    return "" if layout.quoted or "\n" not in start else "\n"


def lines_of(text: str, layout: Layout) -> Iterator[str]:
    """Split text into lines, keeping their ends; see `newline_of`."""
    # Not with StringIO: it takes four bytes per character, and would change line ends.
    return (found[0] for found in _LINE[newline_of(layout, text)].finditer(text))


def records(
    lines: Iterable[str], layout: Layout, source: str, *, first_line: int = 1
) -> Iterator[Record]:
    """Yield the rows of `lines` (each with its end), one at a time; blank lines are skipped.

    Raises:
        DataError: a quoted field is opened and never closed.
    """
    delimiter, start = layout.delimiter, first_line
    to_quote = _TO_UNESCAPED_QUOTE if layout.escaped else _TO_CLOSING_QUOTE
    fields: list[str] = []
    kinds: list[Kind] = []
    pieces: list[str] | None = None  # content of the open quoted field so far
    for number, line in enumerate(lines, first_line):
        if pieces is None:
            start, fields, kinds = number, [], []
            body = line.rstrip("\n").removesuffix("\r") if line.endswith(("\n", "\r")) else line
            if not body:
                continue
            plain = not layout.escaped and not layout.spaced
            if plain and (not layout.quoted or '"' not in body):
                fields = body.split(delimiter)
                yield Record(start, fields, ["plain"] * len(fields))
                continue
        position: int | None = 0
        while position is not None:
            if pieces is None and layout.spaced and position:
                position = _after_spaces(line, position)
            if pieces is None and not line.startswith('"', position):
                end, following = _plain_end(line, position, layout)
                fields.append(_unescaped(line[position:end], layout))
                kinds.append("broken" if '"' in fields[-1] and not layout.escaped else "plain")
                position = following
                continue
            if pieces is None:
                pieces, position = [], position + 1
            closing = to_quote.match(line, position)
            if closing is None:
                pieces.append(line[position:])
                break
            pieces.append(closing.group(1))
            end, following = _plain_end(line, closing.end(), layout)
            tail = line[closing.end() : end]
            fields.append(_unescaped("".join(pieces).replace('""', '"'), layout) + tail)
            kinds.append("broken" if tail else "quoted")
            pieces, position = None, following
        if pieces is None:
            yield Record(start, fields, kinds)
    if pieces is not None:
        raise UnclosedQuoteError(source, start)


def wrong_width(found: int, expected: int, layout: Layout) -> tuple[str, str]:
    """Return what is wrong with a row of `found` fields, and what to do about it."""
    remedy = (
        "quote texts that contain the delimiter"
        if layout.quoted
        else f"replace a {layout.mark} inside a text with a space"
    )
    return (
        f"expected {expected} fields separated by {layout.mark}, found {found}",
        f"fix the row ({remedy})",
    )


def _plain_end(line: str, position: int, layout: Layout) -> tuple[int, int | None]:
    """Return the end of an unquoted field and the start of the next (None: the row ends here)."""
    end = line.find(layout.delimiter, position)
    while layout.escaped and end >= 0 and _is_escaped(line, position, end):
        end = line.find(layout.delimiter, end + 1)
    if end >= 0:
        return end, end + 1
    end = len(line)
    if line.endswith("\n", position, end):
        end -= 1
    if line.endswith("\r", position, end):
        end -= 1
    return end, None


def _after_spaces(line: str, position: int) -> int:
    while line.startswith(" ", position):
        position += 1
    return position


def _is_escaped(line: str, start: int, end: int) -> bool:
    """Return whether an odd number of backslashes stands before `end`."""
    before = line[start:end]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _unescaped(field: str, layout: Layout) -> str:
    if not layout.escaped or "\\" not in field:
        return field
    return re.sub(rf'\\(["\\{re.escape(layout.delimiter)}])', r"\1", field)
