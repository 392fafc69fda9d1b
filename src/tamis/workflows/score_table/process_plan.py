"""How many processes and threads score on this machine: as the user says, else as measured on the
first texts of the table itself. No measurement is wasted, because scores do not depend on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from tamis.compute.device import resolve_threads

TRIAL_S = 8.0
"""Seconds that a candidate is measured."""
TRIAL_CHUNKS = 4
"""Chunks that each thread of a candidate must finish in its measurement."""
_MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class Workers:
    """Numbers of processes, and of threads in each."""

    processes: int
    threads: int

    def __str__(self) -> str:
        """Return the numbers in words."""
        one, single = self.processes == 1, self.threads == 1
        return (
            f"{self.processes} process{'' if one else 'es'} x "
            f"{self.threads} thread{'' if single else 's'}"
        )


def candidates(
    processes: int | None, threads: int | None, *, device: str, resident_mb: float | None
) -> list[Workers]:
    """Return the numbers worth measuring, at least one; the first is the one to start with.

    Args:
        processes: as the user says; None: to be measured.
        threads: CPU threads of all processes together; None: one per physical core.
        device: of the model.
        resident_mb: memory of a process with the model, in MB; None: unknown.

    Raises:
        ConfigError: a number is too small, or there are fewer processors.
    """
    if device != "cpu":
        # A second thread cuts texts into tokens while the first waits for the device.
        return [Workers(processes or 1, 2)]
    total = resolve_threads(threads)[0]
    if processes is not None:
        return [Workers(processes, max(1, total // processes))]
    if total == 1:
        return [Workers(1, 1)]
    counts = [1, total] if total < 4 else [1, total // 2, total]
    free = available_mb()
    if free is not None and resident_mb is not None:
        counts = [each for each in counts if each * resident_mb <= _MEMORY_SHARE * free] or [1]
    return [Workers(each, total // each) for each in counts]


def available_mb() -> float | None:
    """Return the memory that this machine has left, in MB; None if it is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, IndexError, ValueError):
        return None
    return int(found) / 1e3


class Trial:
    """Measures the candidates one after the other, by characters scored in a second."""

    def __init__(self, plans: list[Workers]) -> None:
        """Begin with the first candidate."""
        self._left = list(plans[1:])
        self.now = plans[0]
        self.speeds: dict[Workers, float] = {}
        self._several = len(plans) > 1
        self._begun: float | None = None
        self._characters = self._chunks = 0

    def ended(self) -> bool:
        """Return whether `now` is the choice."""
        return not self._several

    def finished(self, characters: int) -> bool:
        """Count a chunk that was scored while all processes were ready; return whether `now` became
        another candidate, or the choice is made.
        """
        if not self._several:
            return False
        if self._begun is None:
            self._begun = time.monotonic()  # the first chunk may have begun before
            return False
        self._characters += characters
        self._chunks += 1
        seconds = time.monotonic() - self._begun
        threads = self.now.processes * self.now.threads
        if seconds < TRIAL_S or self._chunks < TRIAL_CHUNKS * threads:
            return False
        self.speeds[self.now] = self._characters / seconds
        self._begun, self._characters, self._chunks = None, 0, 0
        if self._left:
            self.now = self._left.pop(0)
        else:
            self.now = max(self.speeds, key=lambda plan: self.speeds[plan])
            self._several = False
        return True
