"""The surroundings of a workflow: messages, and seconds per phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tamis.progress import Progress, Silent

Say = Callable[[str], None]


def silent(sentence: str) -> None:
    """Discard the message."""


@dataclass(frozen=True)
class Listener:
    """What a workflow tells its caller."""

    say: Say = silent
    """receives messages for the user"""
    progress: Progress = field(default_factory=Silent)
    """receives progress updates"""


@dataclass
class Clock:
    """Seconds per phase."""

    seconds: dict[str, float] = field(default_factory=dict)
    _running: dict[str, float] = field(default_factory=dict)
    """when the phases that go on began"""

    def so_far(self) -> dict[str, float]:
        """Return the seconds per phase, of the phase that goes on too."""
        now, found = time.perf_counter(), dict(self.seconds)
        for name, begun in self._running.items():
            found[name] = found.get(name, 0.0) + now - begun
        return found

    def total(self) -> float:
        """Return the seconds of all phases together."""
        return sum(self.seconds.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the time of a `with` block and add it to `name`."""
        begun = self._running[name] = time.perf_counter()
        try:
            yield
        finally:
            del self._running[name]
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
