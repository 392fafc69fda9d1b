"""The rows of the comparison: what the report gives, what this run gives, whether they agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

ANSWER, NOTE = "answer", "note"
"""Items of the rows in words: the answer to a question, and what keeps figures from being
comparable. People read them above and below the tables, not in them."""


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    question: str
    item: str
    reported: str
    obtained: str
    match: bool | None
    """None if nothing was reported, or if the values need not be equal (versions, another
    backbone)."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, as for `--json`."""
        return asdict(self)

    @property
    def mark(self) -> str:
        """The value of `match` as text."""
        return {True: "equal", False: "differs", None: ""}[self.match]


class Table:
    """The rows of the result, in the order of the questions."""

    def __init__(self) -> None:
        """Create an empty table."""
        self.rows: list[Row] = []

    def add(
        self, question: str, item: str, obtained: Any, reported: Any = "", *, compare: bool = True
    ) -> None:
        """Add a row. It matches if both values have the same text."""
        shown, given = _shown(obtained), _shown(reported)
        self.rows.append(
            Row(question, item, given, shown, shown == given if given and compare else None)
        )

    def judge(
        self, question: str, item: str, obtained: str, reported: str, match: bool | None
    ) -> None:
        """Add a row whose match was decided by a rule of its own, such as a tolerance."""
        self.rows.append(Row(question, item, reported, obtained, match))


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
