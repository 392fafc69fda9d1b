"""Rows to score from JSONL. The lines are kept as they are, so that numbers and escapes come out as
they were written.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

from tamis.data.files.columns import find_text
from tamis.data.files.json_reader import JsonRow, json_rows
from tamis.data.files.named_rows import SAMPLE_ROWS
from tamis.data.files.table_messages import NoTextError, text_of
from tamis.errors import DataError
from tamis.workflows.score_table.delimited_table import NOT_UTF8
from tamis.workflows.score_table.lines import LongLine, bounded_lines, too_long
from tamis.workflows.score_table.rows import BadRow, Row, RowFaults, Table, numbered
from tamis.workflows.score_table.source import TableSource
from tamis.workflows.score_table.survey import Survey


class JsonLine(NamedTuple):
    """One object as it is written, and its keys that the first rows do not have."""

    line: str
    further_keys: tuple[str, ...] = ()


class _Sound(NamedTuple):
    text: str
    keys: frozenset[str]
    line: str


def json_table(source: TableSource, known: Survey, text: str | None) -> Table:
    """Open JSONL.

    Raises:
        DataError: there are no objects, or the text column cannot be told.
    """
    name, faults = source.name, RowFaults(source.name)
    # JSON has no CR inside of a string, so a CR alone ends a line as well.
    lines = bounded_lines(source.text(known.encoding, known.errors, ""))
    current = ""

    def sound_lines() -> Iterator[str]:
        nonlocal current
        for number, line in enumerate(lines, 1):
            current = line
            if isinstance(line, LongLine):
                faults.add(number, *too_long())
                current = "\n"  # a blank line is no row
            elif known.errors == "surrogateescape" and NOT_UTF8.search(line):
                faults.add(number, "the line contains bytes that are not UTF-8", "save it as UTF-8")
                current = "\n"
            yield current

    def objects() -> Iterator[tuple[JsonRow, str]]:
        for row in json_rows(sound_lines(), name, faults):
            yield row, current.strip()

    found = objects()
    sample = list(islice(found, SAMPLE_ROWS))
    if not sample:
        waiting = next((reason for _, reason in faults.before(None)), None)
        raise DataError(
            f"{name}: expected JSON objects, found none"
            + ("" if waiting is None else f" ({waiting})")
            + "; give at least one"
        )
    columns = tuple(dict.fromkeys(key for row, _ in sample for key in row.values))
    if not columns:
        raise DataError(f"{name}: expected a text in each JSON object, found empty objects")
    cells = [
        [value if isinstance(value := row.values.get(key), str) else "" for key in columns]
        for row, _ in sample
    ]
    column = columns[find_text(columns, cells, source=name, requested=text)]

    def sound() -> Iterator[tuple[int, _Sound]]:
        for row, line in chain(sample, found):
            try:
                value = text_of(row.values.get(column), column)
            except NoTextError as error:
                faults.add(row.line, error.reason, error.remedy)
                continue
            yield row.line, _Sound(value, frozenset(row.values), line)

    def rows() -> Iterator[Row | BadRow]:
        usual = frozenset(columns)
        for each in numbered(sound(), faults):
            if isinstance(each, BadRow):
                yield each
                continue
            number, _, (value, keys, line) = each
            further = () if keys <= usual else tuple(sorted(keys - usual))
            yield Row(number, value, JsonLine(line, further), len(line))

    return Table("jsonl", columns, column, rows(), known.lines, known.notes)
