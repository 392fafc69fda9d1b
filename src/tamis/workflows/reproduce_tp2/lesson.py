"""The result of the experiment: rows, questions, answers and curves, and their plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tamis.workflows.reproduce_tp2.plots import Curves
from tamis.workflows.reproduce_tp2.questions import QUESTIONS
from tamis.workflows.reproduce_tp2.remedies import RemedyResults
from tamis.workflows.reproduce_tp2.table_rows import ANSWER, NOTE, Row


@dataclass(frozen=True)
class Lesson:
    """The reference experiment, repeated."""

    data: str
    backbone: str
    rows: Sequence[Row]
    """The comparison, in the order of the questions."""
    answers: dict[str, list[str]]
    """Sentences by question: "1", "5.1", ..."""
    notes: Sequence[str]
    """What keeps the figures from being comparable with the reported ones, and what to do."""
    curves: Curves
    cards: Sequence[tuple[str, str, str]]
    """The figures of question 10: name, obtained, reported."""
    reference: dict[str, Any]
    """Figures of the reference training on the test rows."""
    remedies: RemedyResults | None
    """None if the remedies were not tried."""

    def rows_of(self, *questions: str) -> list[Row]:
        """The rows of some questions, without those in words."""
        return [
            row for row in self.rows if row.question in questions and row.item not in (ANSWER, NOTE)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, the content of tp2.json."""
        return {
            "data": self.data,
            "backbone": self.backbone,
            "notes": list(self.notes),
            "questions": [
                {
                    **question.to_dict(),
                    "answers": {key: self.answers[key] for key in question.keys},
                }
                for question in QUESTIONS
            ],
            "rows": [row.to_dict() for row in self.rows],
            "reference": self.reference,
            "remedies": None if self.remedies is None else self.remedies.remedies,
            "rival": None if self.remedies is None else self.remedies.rival,
            "curves": {"points": self.curves.points, "steps": self.curves.steps},
        }
