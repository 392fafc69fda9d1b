"""Decontamination: removes evaluation messages from a corpus, so that figures are valid.

Two texts are equal if their letters and digits are equal, ignoring case and treating all digits as
the same (`tamis.data.deduplication`). A message of at least eight words is also found inside longer
texts; every message is also found as several consecutive lines of a document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from tamis.data.catalog import resolve
from tamis.data.deduplication import repeat_key
from tamis.data.tables import read_table
from tamis.errors import DataError

WORDS = 8
"""Fewest words of a message that is also searched for inside longer texts: shorter messages are
common phrases."""

OPENING = 12
"""Length of the prefix, in letters, that finds messages spread over several lines."""


class Excluded:
    """A set of messages that must not occur in a corpus."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Index the messages `texts`."""
        self.keys: set[str] = set()
        self.openings: dict[str, list[str]] = {}
        self.beginnings: dict[str, list[str]] = {}
        for key in map(repeat_key, texts):
            if _letters(key) in self.keys:
                continue
            self.keys.add(_letters(key))
            self.beginnings.setdefault(_letters(key)[:OPENING], []).append(_letters(key))
            words = key.split(" ")
            if len(words) >= WORDS:
                self.openings.setdefault(" ".join(words[:WORDS]), []).append(f"{key} ")
        self.sizes = sorted({len(beginning) for beginning in self.beginnings} - {0})

    def __len__(self) -> int:
        """Return the number of distinct messages."""
        return len(self.keys)

    def holds(self, text: str) -> bool:
        """Return whether `text` is a message, or contains a longer message word for word."""
        if not self.keys:
            return False
        key = repeat_key(text)
        if _letters(key) in self.keys:
            return True
        words = key.split(" ")
        for place in range(len(words) - WORDS + 1) if self.openings else ():
            found = self.openings.get(" ".join(words[place : place + WORDS]))
            if found:
                rest = " ".join(words[place:]) + " "
                if any(rest.startswith(message) for message in found):
                    return True
        return False

    def among(self, keys: Sequence[str]) -> list[bool]:
        """Return which lines of a document are a message, contain a longer one, or are part of one
        that spans several lines.

        Several lines are a message if their letters and digits, joined, are those of the message. A
        longer message is also found if it begins and ends inside lines.

        Args:
            keys: each line in normalized form (`tamis.data.deduplication.repeat_key`).
        """
        out = [False] * len(keys)
        if not self.keys:
            return out
        letters = [_letters(key) for key in keys]
        ends = [0, *accumulate(map(len, letters))]
        whole, number = "".join(letters), {end: line for line, end in enumerate(ends[1:], 1)}
        for line, begin in enumerate(ends[:-1]):
            for size in self.sizes:
                for message in self.beginnings.get(whole[begin : begin + size], ()):
                    stop = number.get(begin + len(message))
                    if stop is not None and whole.startswith(message, begin):
                        out[line:stop] = [True] * (stop - line)
        if self.openings:
            for line, stop in self._inside(keys):
                out[line:stop] = [True] * (stop - line)
        return out

    def _inside(self, keys: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield the (first, stop) lines that contain a longer message word for word."""
        words = [word for key in keys for word in key.split(" ")]
        lines = [line for line, key in enumerate(keys) for _ in range(key.count(" ") + 1)]
        for place in range(len(words) - WORDS + 1):
            for message in self.openings.get(" ".join(words[place : place + WORDS]), ()):
                count = message.count(" ")
                if " ".join(words[place : place + count]) + " " == message:
                    yield lines[place], lines[place + count - 1] + 1


def _letters(key: str) -> str:
    """Return only letters and digits: "im home" gives "imhome". A text without any is unchanged."""
    return "".join(filter(str.isalnum, key)) or key


def messages_of(places: Sequence[str]) -> list[str]:
    """Return the texts of tables, of every file in a folder of tables, and of data sets by name.

    Raises:
        DataError: a path is not a table, or the name is unknown.
    """
    texts: list[str] = []
    for place in places:
        folder = Path(place)
        tables = (
            sorted(f for f in folder.rglob("*") if f.is_file() and f.suffix != ".md")
            if folder.is_dir()
            else [resolve(place).path]
        )
        if not tables:
            raise DataError(
                f"{place} contains no file; --exclude takes tables, folders of tables, or names "
                "of data sets"
            )
        for table in tables:
            texts.extend(read_table(table).texts)
    return texts


def messages_by_set(places: Sequence[str]) -> dict[str, list[str]]:
    """Return the same texts by the name of each place; for a path, its last component.

    Raises:
        DataError: see `messages_of`.
    """
    sets: dict[str, list[str]] = {}
    for place in places:
        sets.setdefault(Path(place).name or place, []).extend(messages_of([place]))
    return sets
