"""Progress on stderr: a bar where somebody watches, a line now and then where nobody does."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from tamis.cli.console import say

LINE_EVERY_S = 10.0
"""Seconds between two lines of progress where stderr is not a terminal."""


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
            self.progress = Progress(
                *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
            )
            self.progress.start()
            self.bar = self.progress.add_task(
                self.name, total=self.total, completed=self.done, figures=self.unit
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
        if kind is None and time.monotonic() - self.begun > 1.0:
            say(
                f"{self.name}: {self.done - self.before:,} {self.unit} in "
                f"{time.monotonic() - self.begun:.1f} s ({self._speed()})"
            )

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Count, and show it."""
        self.done += amount
        self.note = note or self.note
        now = time.monotonic()
        if self.progress is not None:
            self.progress.update(
                self.bar,
                completed=self.done,
                figures=", ".join(filter(None, (self._speed(), self.note))),
            )
        elif now - self.said > LINE_EVERY_S:
            self.said = now
            left = (self.total - self.done) * (now - self.begun) / max(1, self.done - self.before)
            figures = ", ".join(filter(None, (self._speed(), f"{left:.0f} s left", self.note)))
            say(f"{self.name}: {self.done:,} of {self.total:,} {self.unit}, {figures}")

    def _speed(self) -> str:
        return (
            f"{(self.done - self.before) / max(1e-9, time.monotonic() - self.begun):,.0f} "
            f"{self.unit}/s"
        )
