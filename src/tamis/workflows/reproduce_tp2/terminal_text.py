"""The lesson as text for a terminal: no line is wider than the terminal, or than 100 columns."""

from __future__ import annotations

import io
from collections.abc import Sequence

from tamis.workflows.reproduce_tp2.lesson import Lesson
from tamis.workflows.reproduce_tp2.questions import QUESTIONS
from tamis.workflows.reproduce_tp2.table_rows import Row

WIDEST = 100
NARROWEST = 50
"""Columns; with fewer, the cells of the table could not be read."""


def terminal_text(lesson: Lesson, *, columns: int = WIDEST) -> str:
    """Return the whole lesson as plain text.

    Args:
        columns: width of the terminal; at most 100 and at least 50 are used.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    width = min(WIDEST, max(NARROWEST, columns))
    console = Console(
        file=io.StringIO(),
        width=width,
        color_system=None,
        force_terminal=False,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )

    def paragraph(text: str, indent: int = 0) -> None:
        console.print(Padding(Text(text), (0, 0, 0, indent)))

    paragraph(f"TP2 with {lesson.backbone} on {lesson.data}")
    for note in lesson.notes:
        paragraph(note, 2)
    _table(console, lesson.rows_of("all"))
    for question in QUESTIONS:
        console.print()
        paragraph(f"Question {question.number}: {question.title} ({question.title_fr})")
        paragraph(question.french, 2)
        paragraph(question.english, 2)
        _table(console, lesson.rows_of(*question.keys))
        for key in question.keys:
            console.print()
            name = "Answer" if len(question.keys) == 1 else f"Answer {key}"
            paragraph(f"{name}: {lesson.answers[key][0]}", 2)
            for sentence in lesson.answers[key][1:]:
                paragraph(sentence, 2)
    remedies = lesson.rows_of("remedy", "rival")
    if remedies:
        console.print()
        paragraph("What mends it (each change alone, then together; figures of the test rows)")
        _table(console, remedies, short=True)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _table(console: object, rows: Sequence[Row], *, short: bool = False) -> None:
    """Print rows; cells that are too long are continued on the next line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    assert isinstance(console, Console)
    if not rows:
        return
    grid = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    columns = ("item", "obtained") if short else ("item", "reported", "obtained", "")
    ratios = (2, 3) if short else (4, 3, 4, 1)
    for name, ratio in zip(columns, ratios, strict=True):
        if name:
            grid.add_column(name, overflow="fold", ratio=ratio)
        else:
            grid.add_column(name, no_wrap=True, min_width=len("differs"))
    grid.expand = True
    for row in rows:
        cells = (row.item, row.obtained)
        if not short:
            cells = (row.item, row.reported, row.obtained, row.mark)  # type: ignore[assignment]
        grid.add_row(*(Text(cell) for cell in cells))
    console.print(grid)
