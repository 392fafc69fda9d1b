"""The choice of the text and label columns by evidence, and columns that are only usual."""

from __future__ import annotations

import pytest

from tamis.data.files.columns import UsualColumn, find_both, find_label, find_text
from tamis.errors import DataError

WORDS = "the quick brown fox jumps over the lazy dog and runs away from it".split()


def sentence(number: int) -> str:
    """A text of seven words, another one for each number."""
    return " ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 8)) + f" {number}"


def rows_of(*columns: list[str]) -> list[list[str]]:
    return [list(row) for row in zip(*columns, strict=True)]


N = 6_000
TEXTS = [sentence(number) for number in range(N)]
TWO = ["bad" if number % 7 == 0 else "good" for number in range(N)]
IDS = [f"C{number % 1_500}" for number in range(N)]
"""1,500 values, each of them four times: an id of customers repeats as a label does."""
FORTY = [f"shop {number % 40}" for number in range(N)]
DATES = [f"2024-03-{1 + number % 28:02}" for number in range(N)]
ONE = ["2024"] * N


def both(names: list[str], *columns: list[str], **asked: str | None) -> tuple[str, str]:
    options = {"text": None, "label": None, **asked}
    found = find_both(names, rows_of(*columns), source="t.csv", **options)
    return names[found[0]], names[found[1]]


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["customer", "words", "flagged"], (IDS, TEXTS, TWO)),
        (["flagged", "customer", "words"], (TWO, IDS, TEXTS)),
        (["shop", "words", "flagged"], (FORTY, TEXTS, TWO)),
        (["when", "words", "flagged", "edition"], (DATES, TEXTS, TWO, ONE)),
        (["sender", "words", "flagged", "customer"], (FORTY, TEXTS, TWO, IDS)),
    ],
)
def test_a_column_of_two_values_is_the_label_beside_ids_shops_dates_and_constants(
    names: list[str], columns: tuple[list[str], ...]
) -> None:
    assert both(names, *columns) == ("words", "flagged")


@pytest.mark.parametrize("called", ["verdict of agent", "agentVerdict", "Final label", "Kategorie"])
def test_the_word_of_a_label_in_a_name_decides_between_columns_of_few_values(called: str) -> None:
    channels = [("web", "mail", "app")[number % 3] for number in range(N)]
    assert both(["channel", "words", called], channels, TEXTS, TWO) == ("words", called)


def test_few_values_do_not_decide_between_two_flags_and_the_error_shows_their_values() -> None:
    read = ["yes" if number % 3 else "no" for number in range(N)]
    with pytest.raises(
        DataError,
        match=r"several candidates: 'read' \(no, yes\), 'kept' \(bad, good\); the columns are",
    ):
        both(["read", "words", "kept"], read, TEXTS, TWO)


def test_topics_are_not_passed_over_for_a_flag() -> None:
    topics = [f"topic {number % 20}" for number in range(N)]
    with pytest.raises(DataError, match=r"'thema' \(topic 0, topic 1, topic 10 and 17 more\)"):
        both(["read", "words", "thema"], TWO, TEXTS, topics)


def test_empty_cells_are_no_value_of_a_label() -> None:
    some = [value if number % 3 else "" for number, value in enumerate(TWO)]
    assert both(["words", "flagged", "note"], TEXTS, some, [""] * N) == ("words", "flagged")


def test_the_word_of_a_text_in_a_name_decides_between_two_columns_of_words() -> None:
    summaries = [text[::-1] for text in TEXTS]
    names = ["summary", "customer message"]
    assert find_text(names, rows_of(summaries, TEXTS), source="t", requested=None) == 1


def test_a_usual_column_is_taken_if_it_is_there_and_forgotten_if_not() -> None:
    read = ["yes" if number % 3 else "no" for number in range(N)]
    names, columns = ["read", "words", "kept"], (read, TEXTS, TWO)
    assert both(names, *columns, label=UsualColumn("kept")) == ("words", "kept")
    assert both(names, *columns, label=UsualColumn("Kept")) == ("words", "kept")
    assert both(["words", "flagged"], TEXTS, TWO, label=UsualColumn("kept")) == ("words", "flagged")
    with pytest.raises(DataError, match="there is no column 'kept'"):
        both(["words", "flagged"], TEXTS, TWO, label="kept")


def test_usual_positions_do_not_win_over_the_content_of_a_table_without_names() -> None:
    usual = {"text": UsualColumn("2"), "label": UsualColumn("1")}
    assert both(["1", "2"], TEXTS, TWO, **usual) == ("1", "2")
    assert both(["1", "2"], TWO, TEXTS, **usual) == ("2", "1")
    read = ["yes" if number % 3 else "no" for number in range(N)]
    assert both(["1", "2", "3"], TWO, TEXTS, read, **usual) == ("2", "1")
    # The position of a column that has another name says nothing.
    with pytest.raises(DataError, match="several candidates"):
        both(["read", "words", "kept"], read, TEXTS, TWO, **usual)


def test_a_label_that_is_the_text_is_refused_only_if_it_was_asked_for() -> None:
    rows = rows_of(TEXTS, TWO)
    names = ["words", "flagged"]
    usual = UsualColumn("words")
    assert find_label(names, rows, source="t", requested=usual, text=0) == 1
    with pytest.raises(DataError, match="both as text and as label"):
        find_label(names, rows, source="t", requested="words", text=0)
