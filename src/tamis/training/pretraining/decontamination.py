"""Messages that are kept out of a corpus, so that a figure measured on them later is honest.

Two texts are the same where their letters and digits are, case aside and every digit taken for the
same (`tamis.data.deduplication`). A message of eight words or more is also found inside a longer
text, and every message as several lines of one document.
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
"""Words from which a message is looked for inside longer texts as well: shorter ones are common
phrases."""

OPENING = 12
"""Letters by which a message that may stand as several lines is looked up."""


class Excluded:
    """A set of messages that must not occur in a corpus."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """`texts`: the messages as they are."""
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
        """Number of different messages."""
        return len(self.keys)

    def holds(self, text: str) -> bool:
        """Whether `text` is one of the messages, or one of the longer messages stands inside it,
        word for word.
        """
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
        """Which lines of a document are one of the messages, contain a longer one, or are part of
        one that stands as several of them.

        Several lines are a message where their letters and digits, one line after another, are
        those of the message; a longer message is also found where it begins and ends inside lines.

        Args:
            keys: each line in its normal form (`tamis.data.deduplication.repeat_key`).
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
        """(first, stop) of the lines over which a longer message stands, word for word."""
        words = [word for key in keys for word in key.split(" ")]
        lines = [line for line, key in enumerate(keys) for _ in range(key.count(" ") + 1)]
        for place in range(len(words) - WORDS + 1):
            for message in self.openings.get(" ".join(words[place : place + WORDS]), ()):
                count = message.count(" ")
                if " ".join(words[place : place + count]) + " " == message:
                    yield lines[place], lines[place + count - 1] + 1


def _letters(key: str) -> str:
    """Letters and digits alone: "im home" is "imhome". What has none stays as it is."""
    return "".join(filter(str.isalnum, key)) or key


def messages_of(places: Sequence[str]) -> list[str]:
    """Texts of tables, of every file in a folder of them, and of data sets by name.

    Raises:
        DataError: a place is no table, or nothing is known by that name.
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
                f"{place} holds no file; --exclude takes tables, folders of them, or names of "
                "data sets"
            )
        for table in tables:
            texts.extend(read_table(table).texts)
    return texts


def messages_by_set(places: Sequence[str]) -> dict[str, list[str]]:
    """The same by the name of each place, that of a path without the folders that lead to it.

    Raises:
        DataError: as `messages_of`.
    """
    sets: dict[str, list[str]] = {}
    for place in places:
        sets.setdefault(Path(place).name or place, []).extend(messages_of([place]))
    return sets
