"""Tables are as wide as their cells, or as wide as the terminal that shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.cells import cell_len

from tamis.evaluation.report.text_table import TABLE_WIDTH, table

HEADER = ("", "this model, test (56 rows)", "majority (56 rows)", "tfidf (56 rows)", "n")
ROWS = [
    [
        "False positive rate (fine blocked)",
        "67.5 % 52.0 to 79.9 %",
        "0.0 % 0.0 to 8.76 %",
        "-",
        "7",
    ],
    ["F1", "0.542 0.492 to 0.604", "0.000 0.000 to 0.194", "0.111 0.100 to 0.194", "1,234"],
    [
        "你好世界 is wide",
        "a",
        "b",
        "http://a-very-long-address.example/with/a/path/to/nothing",
        "5",
    ],
]


@contextmanager
def terminal(width: int | None) -> Iterator[None]:
    token = TABLE_WIDTH.set(width)
    try:
        yield
    finally:
        TABLE_WIDTH.reset(token)


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_without_a_terminal_a_table_is_as_wide_as_its_cells() -> None:
    assert table([["a", "10"], ["bcd", "2"]], header=("x", "count")) == (
        "x    count\na       10\nbcd      2"
    )
    assert max(map(len, table(ROWS, header=HEADER).splitlines())) >= 150


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 120, 160, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_left_out(width: int) -> None:
    with terminal(width):
        shown = table(ROWS, header=HEADER)
    assert max(map(cell_len, shown.splitlines())) <= width
    for row in (HEADER, *ROWS):
        for cell in row:
            for word in cell.split():
                assert word in shown or squeezed(word[:10]) in squeezed(shown), (word, shown)


def test_a_terminal_that_is_wide_enough_changes_nothing() -> None:
    plain = table(ROWS, header=HEADER)
    with terminal(max(map(cell_len, plain.splitlines()))):
        assert table(ROWS, header=HEADER) == plain


def test_intervals_and_percentages_are_not_broken() -> None:
    with terminal(80):
        lines = table(ROWS[:2], header=HEADER).splitlines()
    assert any("52.0 to 79.9 %" in line for line in lines)
    assert any("0.492 to 0.604" in line for line in lines)


def test_a_narrow_terminal_divides_the_columns_and_repeats_the_first() -> None:
    with terminal(40):
        shown = table(ROWS[:2], header=HEADER)
    assert len(shown.split("\n\n")) > 1
    assert all(re.search(r"^F1\b", part, re.MULTILINE) for part in shown.split("\n\n"))


def test_brackets_are_no_markup() -> None:
    with terminal(20):
        assert "[bold]" in table([["[bold] text of some words", "another cell"]])
