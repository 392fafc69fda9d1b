"""Whether the first row of a table names the columns: decided by evidence, not by spelling alone.

Each cell of the first row is compared with the cells below it: does the value occur there, has it
the same type, as many words? Each comparison is a likelihood ratio, P(cell | a name) / P(cell | a
value), with probabilities of names from common tables and of values from the column itself. The sum
of their logarithms decides. If it is small, both readings fit and the user must decide.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from math import log

from tamis.data.files.column_names import (
    COLUMN_NAMES,
    LABEL_NAMES,
    LABEL_VALUES,
    TEXT_NAMES,
    plain_name,
)

_HEADER, _VALUES = 3.0, 0.5
"""Total evidence from which the first row is a header, and up to which it is a row of values."""
_LONGEST_NAME = max(map(len, TEXT_NAMES + LABEL_NAMES)) + 8
"""Longer cells are no known names, also with white space around them."""
_STRONG = 4.0
"""Most that one comparison counts, so that none decides against several others."""
_SAMPLE = 1_000
_LABELS = LABEL_VALUES | {"spam"}
_TYPES = (
    ("number", re.compile(r"[+-]?(?:\d+(?:[.,]\d+)*|[.,]\d+)(?:[eE][+-]?\d+)?\s*%?")),
    (
        "date",
        re.compile(
            r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ,]+\d{1,2}[:.h]\d{2}.*)?"
            r"|\d{1,2}:\d{2}(?::\d{2})?(?:\s*[AaPp][Mm])?"
        ),
    ),
    ("address", re.compile(r"(?:https?://|www\.)\S+|\S+@\S+\.\w+")),
    ("code", re.compile(r"(?=\S*\d)[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4,}){1,4}|[A-Z]+[-_]?\d+")),
)
_MOST_WORDS = (1, 3, 8, 15)
_NAMES_BY_WORDS = (0.65, 0.24, 0.07, 0.03, 0.01)
"""Share of column names with at most 1, 3, 8, 15 and more words. Questions of surveys are long."""


class Reading(Enum):
    """What the first row is."""

    HEADER = "header"
    VALUES = "values"
    UNCLEAR = "unclear"


def reading_of(
    first: Sequence[str], rest: Sequence[Sequence[str]], *, named: Sequence[str] = ()
) -> Reading:
    """Return what the first row is, from the rows below it.

    `named` are the columns that the caller requested: if one of them is in the first row, that row
    is a header. Copies of the first row below it are no evidence: concatenated files repeat their
    header.
    """
    if any(name in first for name in named if not name.isdigit()):
        return Reading.HEADER
    below = [row for row in rest if list(row) != list(first)]
    if any(
        plain_name(cell) in LABEL_VALUES
        and any(plain_name(row[column]) in _LABELS for row in below if column < len(row))
        for column, cell in enumerate(first)
    ):
        return Reading.VALUES  # such as "ham" above "spam"
    evidence = [
        weight
        for column, cell in enumerate(first)
        for weight in _of_cell(cell, [row[column] for row in below if column < len(row)], column)
    ]
    cells = [cell for cell in first if cell.strip()]
    if len(set(cells)) < len(cells):
        evidence.append(-1.5)
    numbered = len(cells) > 1 and _is_range(cells)
    if numbered:
        evidence.append(_STRONG)  # pandas numbers the columns of a table without names
    total = sum(evidence)
    # In a single column, a short message among longer ones looks like a name: more is needed.
    lone = len(first) == 1 and not _is_known(first[0])
    if total >= (_STRONG + 0.5 if lone else _HEADER):
        return Reading.UNCLEAR if not numbered and _has_label(first, below) else Reading.HEADER
    return Reading.VALUES if total <= _VALUES else Reading.UNCLEAR


def is_header_again(row: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether `row` repeats the header `names`, apart from case and white space."""
    return len(row) == len(names) and all(
        # Almost always the first cells differ; the names are the same for every row.
        plain_name(cell) == _short_name(name)
        for cell, name in zip(row, names, strict=True)
    )


_short_name = lru_cache(maxsize=4096)(plain_name)
"""Tables have few short values, and each row is asked whether it is a header again."""


def header_roles(row: Sequence[str]) -> dict[str, int]:
    """Return the columns of the roles "text" and "label" if `row` names each of them once."""
    plain = [_short_name(cell) if len(cell) <= _LONGEST_NAME else "" for cell in row]
    texts = [column for column, name in enumerate(plain) if name in TEXT_NAMES]
    labels = [column for column, name in enumerate(plain) if name in LABEL_NAMES]
    if len(texts) != 1 or len(labels) != 1:
        return {}
    return {"text": texts[0], "label": labels[0]}


def _of_cell(cell: str, values: Sequence[str], column: int) -> Iterable[float]:
    """Yield the evidence of one cell of the first row, from the values below it."""
    filled = [value for value in values if value.strip()]
    share = (len(filled) + 1) / (len(values) + 1)
    # Spreadsheets have columns without names at the end, tables of pandas an index at the front.
    index = column == 0 and bool(filled) and all(value.isdecimal() for value in filled)
    unnamed = 0.5 if index else 0.05 + 0.75 * (1 - share)
    if not cell.strip():
        yield _ratio(unnamed, (len(values) - len(filled) + 0.5) / (len(values) + 1))
        return
    yield _ratio(1 - unnamed, share)
    yield from _of_names(cell, filled)
    if not filled:
        return
    sample = filled[:_SAMPLE]
    types = Counter(map(_type, sample))
    common, times = types.most_common(1)[0]
    own = _type(cell)
    typed = common != "text" and times >= 0.95 * len(sample)
    if typed and own == common:
        yield _ratio(0.03, times / len(sample))
        return
    counts = Counter(filled)
    once = sum(count == 1 for count in counts.values())
    # Good and Turing: the probability of a value that was not seen is the share of those seen once.
    new = (once + 1) / (len(filled) + 1)
    if cell in counts:
        yield _ratio(0.03, 1 - new + 0.5 / (len(filled) + 1))
        return
    yield _ratio(0.97, new)
    if typed:
        yield _ratio(0.97, (len(sample) - times + 0.5) / (len(sample) + 1))
        return
    if own != "text":
        yield _ratio(0.02, (types[own] + 0.5) / (len(sample) + 1))
        return
    bins = Counter(map(_words, sample))
    words = _words(cell)
    yield _compared(_NAMES_BY_WORDS[words], bins[words], len(sample))
    for share_of_names, marked in ((0.12, _is_question), (0.2, _is_identifier)):
        if marked(cell):
            yield _compared(share_of_names, sum(map(marked, sample)), len(sample))


def _has_label(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Return whether a cell of the first row is one of few values that its column has again and
    again, as "spam" in the first row `spam,text` is.
    """
    for column, cell in enumerate(first):
        counts = Counter(row[column] for row in below if column < len(row))
        if cell.strip() and counts[cell] > 1 and 2 * len(counts) <= sum(counts.values()):
            return True
    return False


def _of_names(cell: str, filled: Sequence[str]) -> Iterable[float]:
    name = plain_name(cell)
    if name in LABEL_VALUES:
        yield -4.0
    elif cell in filled or (name == "spam" and "ham" in filled):
        return  # a first message labelled "spam" is not a header
    elif name in TEXT_NAMES or name in LABEL_NAMES:
        yield 3.5
    elif _is_known(cell):
        yield 2.0


def _is_known(cell: str) -> bool:
    """Return whether a cell is a known name, or one with a word before it or a remark behind it:
    "Review Text", "Comment (optional)".
    """
    name = re.sub(r"\s*\([^)]*\)\s*[*:]?\s*$", "", cell)
    last = plain_name(name).rpartition("_")[2]
    known = (*TEXT_NAMES, *LABEL_NAMES, *COLUMN_NAMES)
    return plain_name(name) in known or (len(name.split()) == 2 and last in TEXT_NAMES)


def _ratio(named: float, value: float) -> float:
    return max(-_STRONG, min(_STRONG, log(named / value)))


def _compared(share_of_names: float, count: int, total: int) -> float:
    """Return the evidence of a property that `count` of `total` values have; 0 without values."""
    return _ratio(share_of_names, (count + share_of_names) / (total + 1))


def _type(cell: str) -> str:
    for name, pattern in _TYPES:
        if pattern.fullmatch(cell.strip()):
            return name
    return "text"


def _words(cell: str) -> int:
    """Return the class of a cell by its number of words, 0 to 4."""
    count = len(cell.split())
    return sum(count > most for most in _MOST_WORDS)


def _is_question(cell: str) -> bool:
    return cell.rstrip().endswith((":", "?", "*", "\uff1f", "\uff1a"))


def _is_identifier(cell: str) -> bool:
    """Return whether a cell is written as names in programs are: message_text, messageText, v2."""
    return bool(re.fullmatch(r"[^\W\d_]+(?:_\w+|[a-z][A-Z]\w*|\d{1,2})", cell.strip()))


def _is_range(cells: Sequence[str]) -> bool:
    return list(cells) in (
        [str(position) for position in range(len(cells))],
        [str(position) for position in range(1, len(cells) + 1)],
    )
