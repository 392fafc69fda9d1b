"""Progress on stderr: a progress bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from tamis.cli.console import say

LINE_EVERY_S = 10.0
"""Seconds between two progress lines if stderr is not a terminal."""


class Bars:
    """Show one progress bar per task, with speed, remaining time and the note of the task."""

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Bar:
        """Create a bar."""
        return Bar(name, total, unit, done)


class Bar:
    """A progress bar, or a line every `LINE_EVERY_S` seconds."""

    def __init__(self, name: str, total: int, unit: str, done: int) -> None:
        """`done` units were finished before the task started; they do not count for the speed."""
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
        """Remove the bar and print the total."""
        if self.progress is not None:
            self.progress.stop()
        if kind is None and time.monotonic() - self.begun > 1.0:
            say(
                f"{self.name}: {self.done - self.before:,} {self.unit} in "
                f"{time.monotonic() - self.begun:.1f} s ({self._speed()})"
            )

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Count and update the display."""
        self.done += amount
        self.total = max(self.total, self.done)  # an estimated total may be too small
        self.note = note or self.note
        now = time.monotonic()
        if self.progress is not None:
            self.progress.update(
                self.bar,
                completed=self.done,
                total=self.total,
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
