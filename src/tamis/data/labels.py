"""Labels compared and ordered: numbers as numbers, everything else as strings.

A label column with 0 and 0.0, or 1 in JSONL and "1" in CSV, has one class for each number. Owns the
spelling of a label in a table, the order of labels, and the search for a label among known ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError

# Plain decimal notation. "007", "1e3" and "1,5" are names: other spellings of the same number could
# be different codes.
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_MOST_DIGITS = 18
"""Whole numbers with more digits do not fit into 64 bits."""

MISSING_WORDS = frozenset(
    ("nan", "null", "none", "na", "n/a", "#n/a", "<na>", "nat", "nil", "undefined")
)
"""What programs write for a missing value, in lower case."""


def number_of(label: str) -> Decimal | None:
    """Return the number that a label is, or None if it is not a number in decimal notation."""
    return Decimal(label) if _NUMBER.fullmatch(label) else None


def label_key(label: str) -> Decimal | str:
    """Return what labels are compared by: two labels are the same if their keys are equal.

    Numbers are compared as numbers, `true` and `false` without regard to case (pandas writes
    `True`, JSON writes `true`), other labels character by character.
    """
    number = number_of(label)
    if number is not None:
        return number
    return label.lower() if label.lower() in ("true", "false") else label


def label_order(labels: Iterable[str]) -> list[str]:
    """Return the distinct labels, sorted: by value if all are numbers, otherwise as strings."""
    names = sorted(set(labels))
    values = {name: number_of(name) for name in names}
    if any(value is None for value in values.values()):
        return names
    return sorted(names, key=lambda name: (values[name] or Decimal(0), name))


def typed_labels(labels: Sequence[str]) -> NDArray[Any]:
    """Return the labels as an array, (N,): int64 if all are whole numbers, otherwise strings.

    A classifier sorts its classes: whole numbers by value, so that the number of a class in
    transformers is its label, strings as strings.
    """
    names = set(labels)
    if names and all(_is_whole(name) for name in names):
        return np.array([int(label) for label in labels], dtype=np.int64)
    return np.array(list(labels), dtype=np.str_)


def class_order(labels: Sequence[str]) -> list[str]:
    """Return the names of the classes in the order of a classifier that `typed_labels` trained."""
    return [str(label) for label in np.unique(typed_labels(labels))]


def one_spelling(labels: Iterable[str], source: str) -> dict[str, str]:
    """Return the spelling of each distinct label of a table, in which a number has only one.

    Whole numbers lose their fraction (`1.0` becomes `1`) if all numbers of the table are whole;
    otherwise `1.0` stays beside `1.5`, and the first spelling of a number counts.

    Raises:
        DataError: a number that is not whole has two spellings, as 3.1 and 3.10. These may be two
            versions of a program.
    """
    numbers = {label: number_of(label) for label in dict.fromkeys(labels)}
    whole = all(
        number == number.to_integral_value() for number in numbers.values() if number is not None
    )
    first: dict[Decimal, str] = {}
    spelled: dict[str, str] = {}
    for label, number in numbers.items():
        if number is None:
            spelled[label] = label
            continue
        spelled[label] = str(int(number)) if whole else first.setdefault(number, label)
        if spelled[label] != label and number != number.to_integral_value():
            raise DataError(
                f"{source}: the labels {spelled[label]!r} and {label!r} are the same number; "
                "write the number the same way in all rows, or, if they are two names, write them "
                f"with a letter (v{label})"
            )
    return spelled


def known_labels(known: Iterable[object]) -> Mapping[Decimal | str, str]:
    """Return the known labels by their keys, to look up `label_key(label)`; exact names win."""
    names = [str(name) for name in known]
    return {label_key(name): name for name in reversed(names)} | {name: name for name in names}


def matching_label(label: str, known: Mapping[Decimal | str, str]) -> str | None:
    """Return the known label that `label` is, in its known spelling; None if there is none."""
    return known.get(label) or known.get(label_key(label))


def _is_whole(label: str) -> bool:
    # Only if the integer is spelled the same way again: the model's label is its name.
    return (
        label.lstrip("-").isdecimal()
        and len(label) <= _MOST_DIGITS
        and _NUMBER.fullmatch(label) is not None
        and str(int(label)) == label
    )
