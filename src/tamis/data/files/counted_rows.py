"""Rows that are read otherwise than the others, counted for notes to the user."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from tamis.data.files.faulty_rows import SHOWN


class Counted:
    """Counts rows that are not as the others, for notes to the user."""

    def __init__(self, source: str, unit: str) -> None:
        """Count nothing yet; `unit` is what numbers of rows count, "line" or "row"."""
        self._source, self._unit = source, unit
        self._count: Counter[str] = Counter()
        self._first: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, kind: str, line: int) -> None:
        """Count a row; `kind` is "blank", "header" or "short"."""
        self._count[kind] += 1
        if self._count[kind] <= SHOWN:
            self._first[kind].append(line)

    def notes(self) -> tuple[str, ...]:
        """Return a sentence for each kind that occurred."""
        sentences = {
            "blank": "without any value {were} skipped",
            "header": "that {repeat} the header {were} skipped",
            "short": "with fewer cells than there are columns {were} read as if the missing cells "
            "were empty",
        }
        notes = []
        for kind, sentence in sentences.items():
            count = self._count[kind]
            if not count:
                continue
            verbs = ("was", "repeats") if count == 1 else ("were", "repeat")
            words = sentence.format(were=verbs[0], repeat=verbs[1])
            place = f"{self._unit} {listed_lines(self._first[kind], count)}"
            rows = "row" if count == 1 else "rows"
            notes.append(f"{self._source}: {count:,} {rows} {words} ({place}).")
        return tuple(notes)


def listed_lines(first: Sequence[int], count: int) -> str:
    """Return the first numbers of `count`, at most ten, and how many more there are."""
    shown = first[:SHOWN]
    more = count - len(shown)
    return ", ".join(map(str, shown)) + (f" and {more:,} more" if more else "")
