"""JSON rows: one object per line (JSONL), or one array of objects. Values keep their JSON types.

Source: RFC 8259 and jsonlines.org. `columns` decides which key is the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tamis.data.files.faulty_rows import FaultyRows
from tamis.errors import DataError

_SPACE_AND_COMMA = re.compile(r"[ \t\r\n]*(,?)[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_ARRAY = re.compile(r'\[\s*(\{|\]|\[\s*["\d\]]|"(?:[^"\\]|\\.)*"\s*[,\]])')
"""The beginning of an array of objects, or of lists or strings, which are refused."""


class JsonRow(NamedTuple):
    """One object and the 1-based line where it begins."""

    line: int
    values: dict[str, object]


def begins_like_json(text: str) -> bool:
    """Return whether a file that begins with `text` is JSONL or a JSON array."""
    start = text.lstrip()
    if start.startswith("{"):
        return bool(re.match(r'\{\s*("|\})', start))
    return bool(_ARRAY.match(start))


def json_rows(
    lines: Iterable[str], source: str, faults: FaultyRows | None = None
) -> Iterator[JsonRow]:
    """Yield the objects of JSONL; one line at a time is in memory, blank lines are skipped.

    Lines that are not JSON objects are added to `faults`.

    Raises:
        DataError: there are no `faults`, and a line is not JSON or not an object; or the first
            object goes over several lines.
    """
    faults = FaultyRows(source, at_once=True) if faults is None else faults
    first, unfinished = True, False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if unfinished:
            raise DataError(
                f"{source} line {number}: expected one JSON object per line, found an object that "
                "goes over several lines; write each object on one line (jq -c . FILE), or all of "
                "them as one array"
            )
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            at_end = isinstance(error, json.JSONDecodeError) and error.pos >= len(line.rstrip())
            unfinished, first = first and at_end, False
            faults.add(
                number, f"expected a JSON object, found invalid JSON ({error})", "fix the line"
            )
            continue
        first = False
        if not isinstance(value, dict):
            faults.add(number, _not_an_object(value), "fix the line")
            continue
        yield JsonRow(number, value)


def json_array(text: str, source: str) -> Iterator[JsonRow]:
    """Yield the objects of one JSON array.

    Raises:
        DataError: the array is invalid, or an element is not an object.
    """
    position = text.index("[") + 1
    line, counted = 1, 0
    first = True
    while True:
        gap = _SPACE_AND_COMMA.match(text, position)
        position = gap.end() if gap else position
        comma = bool(gap and gap.group(1))
        if text.startswith("]", position) and not comma:
            rest = text[position + 1 :].strip()
            if rest:
                raise DataError(
                    f"{source}: expected the end of the file after the JSON array, found "
                    f"{rest[:20]!r}; remove it"
                )
            return
        line += text.count("\n", counted, position)
        counted = position
        if comma == first:
            raise DataError(
                f"{source} line {line}: expected {'an object' if first else 'a comma or ]'} in "
                "the JSON array; fix it"
            )
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{source} line {line}: expected a JSON object, found invalid JSON ({error}); "
                "fix it"
            ) from None
        if not isinstance(value, dict):
            raise DataError(f"{source} line {line}: {_not_an_object(value)}; fix the line")
        yield JsonRow(line, value)
        first = False


def refuse_whole_table(row: JsonRow, source: str) -> None:
    """Check that the only object of a file is one row, not a whole table.

    Raises:
        DataError: a value is a list of objects, or all values are lists or objects.
    """
    for key, value in row.values.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            raise DataError(
                f"{source}: expected one JSON object per row, found one object with the rows under "
                f"the key {key!r}; write that array alone (jq '.{key}' FILE)"
            )
    if len(row.values) > 1 and all(isinstance(each, list | dict) for each in row.values.values()):
        raise DataError(
            f"{source}: expected one JSON object per row, found one object with the columns "
            f"{', '.join(map(repr, row.values))}; write the rows, in pandas with "
            "to_json(FILE, orient='records', lines=True)"
        )


def _not_an_object(value: object) -> str:
    return (
        'expected a JSON object such as {"label": ..., "text": ...}, found a '
        f"{type(value).__name__}"
    )
