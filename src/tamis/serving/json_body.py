"""Decoding of JSON bodies: which encodings are read, and what is refused although Python's parser
would take it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from tamis.serving.errors import Refusal, plain_name

_UNICODE = frozenset(
    ("", "utf-8", "utf8", "us-ascii", "ascii", "utf-16", "utf-16le", "utf-16be", "utf-32")
)


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape of half of a surrogate pair, and much that is none."""


class _Object(dict[str, Any]):
    """A JSON object, and the first of its names that occurs twice."""

    twice: str | None = None


def parse_json(raw: bytes, charset: str = "") -> Any:
    """Return the value of a JSON body.

    UTF-8 is read with and without a byte order mark, and also UTF-16 and UTF-32, which some clients
    send. A lone surrogate is kept: the validation of the body names the text that contains it.

    Args:
        raw: the body.
        charset: as the Content-Type header says.

    Raises:
        Refusal: 415 for another charset; 422 for an empty or wrongly encoded body, and for one that
            is not JSON: NaN, a number out of range, a name that occurs twice in an object, too deep
            nesting.
    """
    if charset.lower() not in _UNICODE and not raw.isascii():
        raise Refusal(415, "the body must be JSON in UTF-8, without another charset")
    if not raw.strip(b"\xef\xbb\xbf\xfe\xff\x00 \t\r\n"):
        raise Refusal(422, "the body is not valid JSON: it is empty; expected a JSON object")
    try:
        text = raw.decode(json.detect_encoding(raw))
    except UnicodeDecodeError as error:
        raise Refusal(
            422,
            f"the body is not valid JSON: byte {error.start} is not valid "
            f"{error.encoding.partition('-sig')[0].upper()}",
        ) from None
    objects: list[_Object] = []

    def collected(pairs: list[tuple[str, Any]]) -> _Object:
        objects.append(found := _object(pairs))
        return found

    try:
        value = json.loads(
            text,
            object_pairs_hook=collected,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_short,
        )
    except json.JSONDecodeError as error:
        raise Refusal(
            422,
            f"the body is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]} at line "
            f"{error.lineno} column {error.colno}",
        ) from None
    except RecursionError:
        raise Refusal(422, "the body is not valid JSON: it is nested too deeply") from None
    if any(found.twice is not None for found in objects):
        _refuse_double(value)
    if _HALF.search(text):
        _refuse_half(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        found.twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return found


def _no_number(name: str) -> NoReturn:
    raise Refusal(422, f"the body is not valid JSON: {name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise Refusal(422, "the body is not valid JSON: a number is out of range")
    return value


def _short(digits: str) -> int:
    if len(digits) > 1_000:  # Python refuses to convert much longer ones
        raise Refusal(422, "the body is not valid JSON: a number has too many digits")
    return int(digits)


def _refuse_double(value: Any) -> None:
    for path, one in _walk(value):
        if isinstance(one, _Object) and one.twice is not None:
            field = f"{path}.{one.twice}".lstrip(".") if plain_name(one.twice) else None
            said = f"{field or 'a field'} is given twice; send it once"
            raise Refusal(422, said, field=field)


def _refuse_half(value: Any) -> None:
    """Refuse a string with half of a surrogate pair, which JSON can spell as an escape."""
    for path, one in _walk(value):
        places = (
            (place for place, letter in enumerate(one) if "\ud800" <= letter <= "\udfff")
            if isinstance(one, str)
            else ()
        )
        for place in places:
            raise Refusal(
                422,
                f"{path or 'a string'} is not valid Unicode: character {place} (counted from 0) is "
                "half of a surrogate pair; send both halves, or U+FFFD instead",
                field=path or None,
            )


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every value of a body with its path, in order; names that are no plain names and what is
    below them have an empty path.
    """
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, one = pending.pop()
        yield path, one
        if isinstance(one, dict):
            below = [
                (f"{path}.{name}".lstrip(".") if plain_name(name) else "", inner)
                for name, inner in one.items()
            ]
        elif isinstance(one, list):
            below = [(f"{path}.{place}".lstrip("."), inner) for place, inner in enumerate(one)]
        else:
            continue
        pending += reversed(below)
