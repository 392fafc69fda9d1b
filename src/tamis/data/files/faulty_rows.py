"""Faults of rows, collected and reported together: the first ten with their place, and how many.

A user who corrects a file must not find its faults one run at a time.
"""

from __future__ import annotations

from typing import NamedTuple

from tamis.errors import DataError

SHOWN = 10


class Fault(NamedTuple):
    """What is wrong with one row, and what to do about it."""

    line: int
    reason: str
    remedy: str


class FaultyRows:
    """Collects the faults of one file."""

    def __init__(self, source: str, unit: str = "line", *, at_once: bool = False) -> None:
        """Create an empty list.

        `unit` is what numbers count, "line" or "row"; `at_once` raises the first fault when it is
        added, for streams, which may never end.
        """
        self.source, self.unit, self.at_once = source, unit, at_once
        self._first: list[Fault] = []
        self._count = 0

    def __len__(self) -> int:
        """Return the number of faults."""
        return self._count

    def add(self, line: int, reason: str, remedy: str) -> None:
        """Add a fault of the row that begins in `line`.

        Raises:
            DataError: faults are raised at once.
        """
        self._count += 1
        if len(self._first) <= SHOWN:
            self._first.append(Fault(line, reason, remedy))
            self._first.sort(key=lambda fault: fault.line)
        elif line < self._first[-1].line:
            self._first[-1] = Fault(line, reason, remedy)
            self._first.sort(key=lambda fault: fault.line)
        if self.at_once:
            raise self.error()

    def error(self) -> DataError:
        """Return the error that names the faults."""
        first = self._first[0]
        if self._count == 1:
            return DataError(
                f"{self.source} {self.unit} {first.line}: {first.reason}; {first.remedy}"
            )
        shown = self._first[:SHOWN]
        listed = "; ".join(f"{self.unit} {fault.line}: {fault.reason}" for fault in shown)
        more = self._count - len(shown)
        rest = f"; and {more:,} more" if more else ""
        remedies = "; or ".join(dict.fromkeys(fault.remedy for fault in shown))
        return DataError(
            f"{self.source}: {self._count:,} rows are faulty: {listed}{rest}; to correct them: "
            f"{remedies}"
        )

    def check(self) -> None:
        """Check that there are no faults.

        Raises:
            DataError: there are; it names the first ten and their number.
        """
        if self._count:
            raise self.error()
