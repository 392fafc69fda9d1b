"""The lesson in a terminal: everything is there, and no line is too wide."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from tamis.workflows.reproduce_tp2.lesson import Lesson
from tamis.workflows.reproduce_tp2.plots import Curves
from tamis.workflows.reproduce_tp2.questions import QUESTIONS
from tamis.workflows.reproduce_tp2.table_rows import ANSWER, NOTE, Row
from tamis.workflows.reproduce_tp2.terminal_text import terminal_text

LONG = "https://archive.example/" + "x" * 150
WIDE = "訊息" * 60


def lesson() -> Lesson:
    rows = [
        Row("all", "data", "5572 rows", "3 rows", None),
        Row("all", NOTE, "", "a note that stands above", None),
        Row("1", "version of system", "", LONG, None),
        Row("5.2", f"train: {WIDE}", "", "[bold]3[/bold] :smile:", None),
        Row("7", "batches of 16", "279", "1", False),
        Row("7", "rows", "1", "1", True),
        Row("7", ANSWER, "", "the answer", None),
        Row("remedy", "5 epochs", "", "recall 3.0 %, " * 12, None),
    ]
    answers = {key: [f"Answer to {key} about {LONG}"] for q in QUESTIONS for key in q.keys}
    curves = Curves([], [], "spam", "ham", 0.87, 2)
    return Lesson("mine", "nano", rows, answers, [f"Get {LONG}"], curves, [], {}, None)


@pytest.mark.parametrize(("columns", "widest"), [(100, 100), (300, 100), (80, 80), (10, 50)])
def test_no_line_is_wider_than_the_terminal_or_100_columns(columns: int, widest: int) -> None:
    text = terminal_text(lesson(), columns=columns)
    assert max(map(cell_len, text.splitlines())) <= widest
    assert LONG in "".join(text.split()), "a long word is continued, not cut"


def test_every_question_stands_there_in_both_languages_with_its_answer() -> None:
    text = " ".join(terminal_text(lesson()).split())
    for question in QUESTIONS:
        assert f"Question {question.number}: {question.title} ({question.title_fr})" in text
        assert " ".join(question.french.split()) in text
        assert " ".join(question.english.split()) in text
        for key in question.keys:
            assert f"Answer to {key} about" in text
    assert text.index("Découpage") < text.index("Answer 5.1:") < text.index("Answer 5.2:")


def test_words_of_the_user_are_not_markup_and_notes_stand_once() -> None:
    text = terminal_text(lesson())
    assert "[bold]3[/bold] :smile:" in text
    assert "a note that stands above" not in text and " ".join(text.split()).count("Get https") == 1
    row = next(line for line in text.splitlines() if line.startswith("batches of 16"))
    assert row.split() == ["batches", "of", "16", "279", "1", "differs"]
