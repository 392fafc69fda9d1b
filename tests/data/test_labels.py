"""Labels compared and ordered: numbers as numbers, others as strings; and the search among known
labels.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.known_labels import with_known_labels
from tamis.data.labels import (
    class_order,
    known_labels,
    label_key,
    label_order,
    matching_label,
    one_spelling,
    typed_labels,
)
from tamis.data.tables import Table
from tamis.errors import DataError


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0", "0.0", True),
        ("0", "-0", True),
        ("1", "+1", True),
        ("2.5", "2.50", True),
        ("1", "01", False),
        ("1000", "1e3", False),
        ("1.5", "1,5", False),
        ("True", "true", True),
        ("Ham", "ham", False),
        ("1", "true", False),
        ("123456789012345678901234567890", "123456789012345678901234567891", False),
        ("1", "１", False),
    ],
)
def test_numbers_are_compared_as_numbers(one: str, other: str, same: bool) -> None:
    assert (label_key(one) == label_key(other)) is same


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1))
def test_whole_numbers_are_in_numeric_order_in_tables_and_in_classifiers(
    numbers: list[int],
) -> None:
    names = [str(number) for number in numbers]
    expected = [str(number) for number in sorted(set(numbers))]
    assert label_order(names) == expected
    assert class_order(names) == expected
    assert typed_labels(names).dtype == np.int64


def test_other_labels_are_in_the_order_of_strings() -> None:
    assert label_order(["10", "9", "x"]) == ["10", "9", "x"]
    assert label_order(["b", "a", "b"]) == ["a", "b"]
    assert label_order(["10.5", "2", "9.75"]) == ["2", "9.75", "10.5"]
    for labels in (["01", "1"], ["1.5", "2"], ["9" * 19, "1"], ["-0", "1"], []):
        assert typed_labels(labels).dtype.kind == "U"


def test_a_table_has_one_spelling_for_each_number() -> None:
    assert one_spelling(["1.0", "0", "1", "x"], "t") == {"1.0": "1", "0": "0", "1": "1", "x": "x"}
    assert one_spelling(["1.0", "1.5", "1"], "t") == {"1.0": "1.0", "1.5": "1.5", "1": "1.0"}
    with pytest.raises(DataError, match=r"t: the labels '3\.1' and '3\.10' are the same number"):
        one_spelling(["3.1", "3.10"], "t")


def test_a_label_is_found_in_its_known_spelling() -> None:
    known = known_labels(np.array([0.0, 1.0]))
    assert [matching_label(label, known) for label in ("0", "1.0", "1", "2")] == [
        "0.0",
        "1.0",
        "1.0",
        None,
    ]
    both = known_labels(["1.0", "1"])
    assert [matching_label(label, both) for label in ("1.0", "1", "1.00")] == ["1.0", "1", "1.0"]


def test_all_rows_of_unknown_labels_are_named() -> None:
    rows = Table.of(list("abcd"), ["1.0", "spma", "0", "2"])
    with pytest.raises(DataError) as caught:
        with_known_labels(rows, ["0", "1", "spam"])
    assert str(caught.value) == (
        "memory: 2 rows are faulty: line 2: label 'spma' is not one of the model's labels "
        "('0', '1', 'spam'); line 4: label '2' is not one of the model's labels; to correct them: "
        "did you mean 'spam'?; or correct the row or remove it"
    )
    known = Table.of(list("ab"), ["1.0", "0"])
    assert with_known_labels(known, [0, 1]).labels == ("1", "0")
    assert with_known_labels(known, ["0", "1.0"]) is known
