"""The layout of delimited text, told by its content: delimiter, quoting, and Excel's `sep=` line.

`csv_reader` reads the rows of a layout.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from tamis.data.files.columns import count_roles
from tamis.data.files.csv_reader import DELIMITERS, Layout, Record, lines_of, records
from tamis.errors import DataError

_SAMPLE_CHARACTERS = 1 << 18
_SAMPLE_RECORDS = 200
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?\1*[ \t]*(?:\r\n|\n|\r|\Z)', re.IGNORECASE)


class Declared(NamedTuple):
    """What a `sep=` line says: its delimiter, and the number of its characters in the text."""

    delimiter: str
    length: int


def declared_separator(text: str) -> Declared | None:
    """Return what Excel's first line `sep=;` declares, or None if the first line is another one."""
    found = _SEPARATOR_LINE.match(text)
    return Declared(found.group(1), found.end()) if found else None


def sniff(text: str, *, whole: bool = True) -> Layout | None:
    """Detect the layout of `text` from its content; None if no delimiter divides it into columns.

    `whole` is False if `text` is only the beginning of a file. Comma- or semicolon-separated text
    is always read as quoted, tab-separated text only if its quotes clearly quote fields.
    """
    best: tuple[_Fit, str] | None = None
    for delimiter in DELIMITERS:
        quotings = (False, True) if delimiter == "\t" else (True,)
        fit = max(_fit(_sample(text, Layout(delimiter, quoted), whole)) for quoted in quotings)
        if (fit.share > 0.5 or fit.roles) and (best is None or fit > best[0]):
            best = (fit, delimiter)
    return None if best is None else layout_of(text, best[1], whole=whole)


def layout_of(text: str, delimiter: str, *, whole: bool = True) -> Layout:
    """Return the layout of a text whose delimiter is known: quotes, escapes, spaces, line ends."""
    quoted = delimiter != "\t" or quoting_is_evident(text, delimiter, whole=whole)
    layout = Layout(delimiter, quoted)
    if quoted and _spaces_follow(text, layout, whole):
        return replace(layout, spaced=True)
    # Only a text that is irregular as it stands and regular in another reading has that reading:
    # "C:\\" is a plain field.
    others = list(_other_readings(text, layout))
    if not others or not _irregular(text, layout, whole):
        return layout
    return next((each for each in others if not _irregular(text, each, whole)), layout)


def _other_readings(text: str, layout: Layout) -> Iterator[Layout]:
    """Yield the layouts that the characters of a text allow besides the usual one."""
    mark = re.escape(layout.delimiter)
    if layout.quoted and re.search(rf'\\["{mark}]', text):
        yield replace(layout, escaped=True)  # `"a \\"b\\" c"`
    if layout.quoted and re.search(rf'{mark} +"', text):
        yield replace(layout, spaced=True)  # `"a", "b"`
    ends = Counter({"\r\n": text.count("\r\n")})
    ends["\n"] = text.count("\n") - ends["\r\n"]
    ends["\r"] = text.count("\r") - ends["\r\n"]
    if sum(count > 0 for count in ends.values()) > 1:
        # Other line ends may be part of a field that is not quoted.
        yield replace(layout, line_end=ends.most_common(1)[0][0])


def _spaces_follow(text: str, layout: Layout, whole: bool) -> bool:
    """Return whether a space follows each delimiter, also in a header.

    Without a known name in the header and without a quoted field, the delimiters may be the
    punctuation of sentences.
    """
    rows = _sample_records(text, layout, whole)
    cells = [field for row in rows for field in row.fields[1:]]
    spaced = len(rows) > 1 and bool(cells) and all(field.startswith(" ") for field in cells)
    return spaced and (
        count_roles(rows[0].fields) > 0 or any("quoted" in row.kinds for row in rows)
    )


def regularity(text: str, layout: Layout, *, whole: bool = True) -> tuple[int, int, float]:
    """Return three figures of the first rows: their number, the known column names in the first
    row, and the share of rows that have the most frequent width (0 for width 1).
    """
    rows = _sample(text, layout, whole)
    fit = _fit(rows)
    return len(rows), fit.roles, fit.share


def is_prose(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the delimiter could be the punctuation of sentences: a space follows it."""
    cells = [field for row in rows for field in row[1:] if field]
    return bool(cells) and sum(field.startswith(" ") for field in cells) >= 0.9 * len(cells)


class _Fit(NamedTuple):
    """How well a delimiter divides a text; the first difference decides between delimiters."""

    roles: int
    """Known column names in the first row."""
    share: float
    """Share of rows with the most frequent width; 0 if that is one."""
    repeats: bool
    """A column has few distinct values, as labels do."""
    tight: float
    """Share of fields that do not begin with a space, as a comma in a sentence is followed by."""
    width: int


def _sample(text: str, layout: Layout, whole: bool) -> list[list[str]]:
    return [record.fields for record in _sample_records(text, layout, whole)]


def _sample_records(text: str, layout: Layout, whole: bool) -> list[Record]:
    if len(text) > _SAMPLE_CHARACTERS:
        # The sample must contain the whole first row, even if that row has a megabyte.
        end = text.find("\n", _SAMPLE_CHARACTERS)
        text, whole = (text, whole) if end < 0 else (text[: end + 1], False)
    rows: list[Record] = []
    try:
        for record in records(lines_of(text, layout), layout, ""):
            if any(map(str.strip, record.fields)):
                rows.append(record)
            if len(rows) == _SAMPLE_RECORDS:
                break
    except DataError:
        if whole:
            rows.append(Record(0, [], ["broken"]))  # the unclosed rest is an irregular row
    return rows


def _irregular(text: str, layout: Layout, whole: bool) -> int:
    """Return how many of the first rows have another width than most, or a broken field."""
    rows = _sample_records(text, layout, whole)
    return _off_width([len(row.fields) for row in rows]) + sum(
        "broken" in row.kinds for row in rows
    )


def _fit(rows: Sequence[Sequence[str]]) -> _Fit:
    widths = Counter(len(row) for row in rows if len(row) > 1)
    if not widths:
        return _Fit(0, 0.0, False, 0.0, 1)
    width, times = widths.most_common(1)[0]
    regular = [row for row in rows if len(row) == width]
    cells = [field for row in regular for field in row[1:] if field]
    return _Fit(
        count_roles(rows[0]) if len(rows[0]) > 1 else 0,
        times / len(rows),
        any(2 * len(set(column)) <= len(regular) for column in zip(*regular, strict=True)),
        sum(not field.startswith(" ") for field in cells) / max(1, len(cells)),
        width,
    )


def quoting_is_evident(text: str, delimiter: str, *, whole: bool = True) -> bool:
    """Return whether the quotes of a tab-separated text quote fields and are not part of the texts.

    False if a quote is where no writer puts it: an opened field that does not close right before
    the delimiter, or an unquoted field with a quote inside. Otherwise true in each of three cases:
    every field is quoted; quoted fields contain delimiters or line ends and only the quoted reading
    gives rows of one width; or exactly those fields are quoted that need it (or whole columns, as R
    and some exports write). One single "text" in quotes is not enough.
    """
    if not re.search(rf'(?:^|[\r\n]|{re.escape(delimiter)})"', text):
        return False
    rows: list[Record] = []
    try:
        layout = Layout(delimiter, quoted=True)
        for record in records(lines_of(text, layout), layout, ""):
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
        layout = Layout(delimiter, quoted=False)
        bare = records(lines_of(text, layout), layout, "")
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
