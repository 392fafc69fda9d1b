"""How long work reports on itself: the library counts, whoever shows it (the command line) decides
how.

The library never prints. A function that takes long accepts a `Progress` and calls `task`; the
default shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self


class Task(Protocol):
    """One counted piece of work; a context manager."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, well or not."""
        ...

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Say that `amount` more units are done; `note` is a short figure to show, such as the
        loss.
        """
        ...


class Progress(Protocol):
    """Somebody who shows tasks."""

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Task:
        """Announce `total` units of work, of which `done` are behind us already."""
        ...


class Silent:
    """Shows nothing."""

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Silent:
        """Accept the task and forget it."""
        return self

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Forget the count."""


def once(say: Callable[[str], None]) -> Callable[[str], None]:
    """The same voice, which says no sentence twice."""
    said: set[str] = set()

    def tell(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            say(sentence)

    return tell
