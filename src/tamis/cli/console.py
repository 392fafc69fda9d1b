"""What the command line shows: progress on stderr, a bar where somebody watches, a line now and then where nobody does."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

LINE_EVERY_S = 10.0
"""Seconds between two lines of progress where stderr is not a terminal."""


def say(sentence: str) -> None:
    """A sentence for the user, on stderr."""
    print(sentence, file=sys.stderr, flush=True)


class Bars:
    """Progress for a terminal: one bar a task, with speed, time left and the task's own figure."""

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Bar:
        """Open a bar."""
        return Bar(name, total, unit, done)


class Bar:
    """One bar, or one line every ten seconds."""

    def __init__(self, name: str, total: int, unit: str, done: int) -> None:
        """`done` units were behind us when the task began; they do not count for the speed."""
        self.name, self.total, self.unit, self.done, self.before = name, total, unit, done, done
        self.begun = self.said = time.monotonic()
        self.progress: Any = None
        self.note = ""

    def __enter__(self) -> Self:
        """Show the bar."""
        if sys.stderr.isatty() and self.total > 1:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,}/{task.total:,} {task.fields[figures]}"),
            )
            self.progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self.progress.start()
            self.bar = self.progress.add_task(self.name, total=self.total, completed=self.done, figures=self.unit)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
        if kind is None and time.monotonic() - self.begun > 1.0:
            say(f"{self.name}: {self.done - self.before:,} {self.unit} in {time.monotonic() - self.begun:.1f} s ({self._speed()})")

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Count, and show it."""
        self.done += amount
        self.note = note or self.note
        now = time.monotonic()
        if self.progress is not None:
            self.progress.update(self.bar, completed=self.done, figures=", ".join(filter(None, (self._speed(), self.note))))
        elif now - self.said > LINE_EVERY_S:
            self.said = now
            left = (self.total - self.done) * (now - self.begun) / max(1, self.done - self.before)
            figures = ", ".join(filter(None, (self._speed(), f"{left:.0f} s left", self.note)))
            say(f"{self.name}: {self.done:,} of {self.total:,} {self.unit}, {figures}")

    def _speed(self) -> str:
        return f"{(self.done - self.before) / max(1e-9, time.monotonic() - self.begun):,.0f} {self.unit}/s"


def table(rows: Sequence[Sequence[str]], *, header: Sequence[str] = ()) -> str:
    """Rows as text in aligned columns; a column of which every cell is a number stands on the right."""
    body = [list(map(str, row)) for row in rows]
    everything = [list(header), *body] if header else body
    columns = list(zip(*everything, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(row[i].replace(",", "").replace(".", "").isdigit() for row in body) for i in range(len(columns))]
    lines = [[cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)] for row in everything]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def attack_lines(report: dict[str, Any]) -> list[str]:
    """What is caught and blocked under each attack, where attacks were judged."""
    from tamis.evaluation.robustness import AttackResult, attack_rows

    if not report.get("attacks"):
        return []
    header, rows = attack_rows([AttackResult(**result) for result in report["attacks"]])
    return ["", table(rows, header=header), ""]


def online_lines(report: dict[str, Any]) -> list[str]:
    """The table of a replay, where one was asked for."""
    from tamis.evaluation.prequential import OnlineFigures, online_rows

    if not report.get("online"):
        return []
    header, rows = online_rows([OnlineFigures(**result) for result in report["online"]["results"]])
    return ["", table(rows, header=header), *(f"note: {note}" for note in report["online"]["notes"])]


def report_lines(report: dict[str, Any]) -> list[str]:
    """The headline of a report: the model's figures beside the baselines', McNemar's test and the warnings."""
    from tamis.decision.out_of_distribution import familiarity_sentence
    from tamis.evaluation.fold_spread import folds_sentence
    from tamis.evaluation.report.confusion import confusions_sentence
    from tamis.evaluation.report.render_html import columns, figure_text
    from tamis.evaluation.report.report import mcnemar_sentence

    lines = [f"warning: {sentence}" for sentence in report["warnings"]]
    judged = {name: report[name] for name in ("test", "validation") if report[name]}
    if not judged:
        return [*lines, folds_sentence(report.get("folds")) or "No rows were held out, so there are no figures."]
    shown = columns(report)
    rows = []
    beside = {f"this model, {name}": figures for name, figures in judged.items()} | report["baselines"]
    for name, figures in beside.items():
        cells = [" ".join(filter(None, figure_text(figures, key, percent))) for key, _, percent in shown]
        rows.append([f"{name} ({figures['n']:,} rows)", *cells])
    lines.append(table([list(column) for column in zip(["", *(heading for _, heading, _ in shown)], *rows, strict=True)]))
    lines += attack_lines(report)
    lines += filter(None, [folds_sentence(report.get("folds")), confusions_sentence(report.get("confusions") or [])])
    lines += filter(None, [familiarity_sentence(report.get("familiarity")), mcnemar_sentence(report)])
    return [*lines, *(f"note: {note}" for note in report["notes"])]
