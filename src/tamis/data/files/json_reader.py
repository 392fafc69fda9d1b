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


class JsonRow(NamedTuple):
    """One object and the 1-based line where it begins."""

    line: int
    values: dict[str, object]


def begins_like_json(text: str) -> bool:
    """Return whether a file that begins with `text` is JSONL or a JSON array of objects."""
    start = text.lstrip()
    if start.startswith("{"):
        return bool(re.match(r'\{\s*("|\})', start))
    return bool(re.match(r"\[\s*(\{|\])", start))


def json_rows(
    lines: Iterable[str], source: str, faults: FaultyRows | None = None
) -> Iterator[JsonRow]:
    """Yield the objects of JSONL; one line at a time is in memory, blank lines are skipped.

    Lines that are not JSON objects are added to `faults`.

    Raises:
        DataError: there are no `faults`, and a line is not JSON or not an object.
    """
    faults = FaultyRows(source, at_once=True) if faults is None else faults
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            faults.add(
                number, f"expected a JSON object, found invalid JSON ({error})", "fix the line"
            )
            continue
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


def _not_an_object(value: object) -> str:
    return (
        'expected a JSON object such as {"label": ..., "text": ...}, found a '
        f"{type(value).__name__}"
    )
