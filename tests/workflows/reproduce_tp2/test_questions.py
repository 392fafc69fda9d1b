"""The questions stand in one wording wherever they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamis.workflows.reproduce_tp2.questions import QUESTIONS

DOCS = Path(__file__).parents[3] / "docs"


def notebook() -> str:
    content = json.loads((DOCS / "notebooks" / "tp2.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "markdown"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def test_there_are_ten_and_each_is_told_in_both_languages() -> None:
    assert [question.number for question in QUESTIONS] == list(range(1, 11))
    for question in QUESTIONS:
        assert len(question.french) > 40 and len(question.english) > 40
        assert question.french != question.english
        # French typography: guillemets, and a space before a question mark.
        assert '"' not in question.french and "?" not in question.french.replace(" ?", "")
    assert QUESTIONS[4].keys == ("5.1", "5.2") and QUESTIONS[5].keys == ("6",)


@pytest.mark.parametrize(
    "text",
    [(DOCS / "tutorial" / "tp2.md").read_text(encoding="utf-8"), notebook()],
    ids=["tutorial", "notebook"],
)
def test_the_tutorial_and_the_notebook_have_the_same_wording(text: str) -> None:
    for question in QUESTIONS:
        assert question.french in text, question.number
        assert question.english in text, question.number
