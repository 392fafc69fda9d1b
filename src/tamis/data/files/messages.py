"""A message to classify, and an iterator of them with what is known about their source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """A text to classify.

    `columns` are all columns of the row, in the order of the file; `line` is 1-based.
    """

    text: str
    columns: dict[str, object] = field(default_factory=dict)
    line: int = 0


@dataclass
class Messages:
    """An iterator of `Message` with the format, the text column and notes for the user.

    `format` is "text", "csv", "tsv", "excel", "jsonl", "json", "parquet", "eml", "mbox" or
    "maildir".
    `ending_notes` returns further notes, on rows that were skipped, when all rows have been read.
    """

    format: str
    text_column: str
    source: str
    notes: tuple[str, ...]
    _rows: Iterator[Message] = field(repr=False)
    ending_notes: Callable[[], tuple[str, ...]] = field(default=tuple, repr=False)
    held: object = field(default=None, repr=False)
    """what must not be removed while the messages are read, such as a temporary file"""

    def __iter__(self) -> Iterator[Message]:
        """Return self."""
        return self

    def __next__(self) -> Message:
        """Return the next message."""
        return next(self._rows)
