"""Progress updates: the library counts units of work; the caller, such as the command line, decides
how to show them.

The library never prints unasked. A function that takes long accepts a `Progress` and calls its
method `task`; by default, nothing is shown. `Bars` shows bars in a terminal and in a notebook.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self


class Task(Protocol):
    """A task with counted units of work; a context manager."""

    def __enter__(self) -> Self:
        """Start the task."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the task, with or without an error."""
        ...

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Report that `amount` more units are done. `note` is a short text to show, such as the
        loss.
        """
        ...


class Progress(Protocol):
    """An object that shows the progress of tasks."""

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Task:
        """Announce `total` units of work, of which `done` are already finished."""
        ...


class Silent:
    """A `Progress` that shows nothing."""

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Silent:
        """Return a task that shows nothing."""
        return self

    def __enter__(self) -> Self:
        """Start the task."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the task."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Do nothing."""


class Bars:
    """A `Progress` that shows a bar of tqdm for each task: a widget in a notebook, text on stderr
    elsewhere.
    """

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Bar:
        """Create a bar; it appears when the task starts."""
        return Bar(name, total, unit, done)


class Bar:
    """A bar of tqdm. It stays when the task has ended, and counts what was done."""

    def __init__(self, name: str, total: int, unit: str, done: int) -> None:
        """`done` units were finished before the task started; they do not count for the speed."""
        self._options: dict[str, Any] = {"desc": name, "total": total, "initial": done}
        self._options["unit"] = f" {unit}"
        self._bar: Any = None

    def __enter__(self) -> Self:
        """Show the bar."""
        from tqdm.auto import tqdm

        self._bar = tqdm(**self._options)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the bar."""
        self._bar.close()

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Count, and show the note behind the bar."""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)


def show(sentence: str) -> None:
    """Show a sentence on stderr, above the bars."""
    from tqdm.auto import tqdm

    tqdm.write(sentence, file=sys.stderr)


def once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Wrap `say` so that each message is shown only once."""
    said: set[str] = set()

    def tell(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            say(sentence)

    return tell
