"""Messages that are kept out of a corpus, so that a figure measured on them later is honest.

Two texts are the same where their letters and digits are, case aside and every digit taken for the same (`tamis.data.normalise`).
A message of eight words or more is also found inside a longer text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tamis.data.catalog import resolve
from tamis.data.normalise import repeat_key
from tamis.data.tables import read_table
from tamis.errors import DataError

WORDS = 8
"""Words from which a message is looked for inside longer texts as well: shorter ones are common phrases."""


class Excluded:
    """A set of messages that must not occur in a corpus."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """`texts`: the messages as they are."""
        self.keys: set[str] = set()
        self.openings: dict[str, list[str]] = {}
        for key in map(repeat_key, texts):
            if _letters(key) in self.keys:
                continue
            self.keys.add(_letters(key))
            words = key.split(" ")
            if len(words) >= WORDS:
                self.openings.setdefault(" ".join(words[:WORDS]), []).append(f"{key} ")

    def __len__(self) -> int:
        """Number of different messages."""
        return len(self.keys)

    def holds(self, text: str) -> bool:
        """Whether `text` is one of the messages, or one of the longer messages stands inside it, word for word."""
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
        tables = sorted(f for f in folder.rglob("*") if f.is_file() and f.suffix != ".md") if folder.is_dir() else [resolve(place).path]
        if not tables:
            raise DataError(f"{place} holds no file; --exclude takes tables, folders of them, or names of data sets")
        for table in tables:
            texts.extend(read_table(table).texts)
    return texts
