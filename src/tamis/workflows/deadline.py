"""The limit of a time budget while a training runs, and a `Progress` that watches the work."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tamis.progress import Progress, Task

Watch = Callable[[str, int, int], None]
"""Is told the name of a task, how much was just done, and its total."""
TRAINING = "training"
"""How the names of tasks begin that are trainings, those of folds too."""
EARLIEST_S, EARLIEST_SHARE = 5.0, 0.05
"""Steps of a training before its speed is judged: seconds and share."""


class TooSlowError(Exception):
    """A training cannot end within its budget; it was stopped."""

    def __init__(self, projected_s: float) -> None:
        """`projected_s`: seconds that all its steps would take at the speed so far; infinite if the
        budget is used up.
        """
        super().__init__(projected_s)
        self.projected_s = projected_s


class Deadline:
    """Stops a training that cannot end in time, as a `Watch`."""

    def __init__(
        self, at: float, *, trainings: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Expect `trainings` of about as many rows each to be done when `clock` shows `at`."""
        self.at, self.trainings, self.clock = at, trainings, clock
        self._begun: float | None = None
        self._done = 0

    def __call__(self, name: str, amount: int, total: int) -> None:
        """Judge the speed.

        Raises:
            TooSlowError: at the speed so far the work ends too late.
        """
        now = self.clock()
        if now > self.at:
            raise TooSlowError(math.inf)
        if not name.startswith(TRAINING):
            return
        if self._begun is None:  # the first step pays for buffers
            self._begun = now
            return
        self._done += amount
        spent, share = now - self._begun, self._done / (total * self.trainings)
        judged = spent >= EARLIEST_S and share >= EARLIEST_SHARE
        if judged and self._begun + spent / share > self.at:
            raise TooSlowError(spent / share)


class WatchedProgress:
    """A `Progress` whose work is watched. What a watch raises ends the work."""

    def __init__(
        self, shown: Progress, *watches: Watch, before: Callable[[], None] | None = None
    ) -> None:
        """Show everything with `shown`; `before` is called before each task."""
        self._shown, self._watches, self._before = shown, watches, before

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> WatchedTask:
        """Return a task that is shown and watched."""
        if self._before is not None:
            self._before()
        shown = self._shown.task(name, total=total, unit=unit, done=done)

        def advanced(amount: int) -> None:
            for watch in self._watches:
                watch(name, amount, total)

        return WatchedTask(shown, advanced)


class WatchedTask:
    """A task that is shown and watched."""

    def __init__(self, shown: Task, advanced: Callable[[int], None]) -> None:
        """Call `advanced` after each piece of work."""
        self._shown, self._advanced = shown, advanced

    def __enter__(self) -> Self:
        """Start the task."""
        self._shown.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the task, with or without an error."""
        self._shown.__exit__(kind, error, trace)

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Show and watch the work."""
        self._shown.advance(amount, note)
        self._advanced(amount)
