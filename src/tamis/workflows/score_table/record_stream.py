"""The rows of delimited text, of which faulty ones do not spoil the rows after them.

A quote that is opened and never closed would make one row of the rest of a file. Reading goes back
to the line after the one where such a row begins, and that one line is the bad row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from tamis.data.files.cells import Row
from tamis.data.files.csv_reader import (
    Layout,
    Record,
    UnclosedQuoteError,
    records,
    wrong_width,
)
from tamis.workflows.score_table.lines import LongLine, too_long
from tamis.workflows.score_table.rows import MOST_ROW_CHARACTERS, RowFaults


class _RowTooLongError(Exception):
    """A row goes on beyond what a row may have."""


class _Tape:
    """Lines; those since the last whole row can be read again."""

    def __init__(self, lines: Iterable[str], first_line: int) -> None:
        self._lines, self._again = iter(lines), deque[str]()
        self._row: list[str] = []
        self._characters = 0
        self.line = first_line
        """number of the first line that is not in a whole row"""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        if not self._row and not line.strip("\r\n"):
            self.line += 1  # a blank line belongs to no row
            return line
        self._row.append(line)
        self._characters += len(line)
        if self._characters > MOST_ROW_CHARACTERS or isinstance(line, LongLine):
            raise _RowTooLongError
        return line

    def lines_of_row(self) -> int:
        return len(self._row)

    def end_row(self) -> None:
        self.line += len(self._row)
        self._row.clear()
        self._characters = 0

    def go_back(self) -> None:
        """Read all lines of the row again except for the first."""
        self._again.extendleft(reversed(self._row[1:]))
        self.line += 1
        self._row.clear()
        self._characters = 0


class RecordStream:
    """An iterator of rows of cells; each bad row is a fault, and the next row follows it."""

    def __init__(
        self,
        lines: Iterable[str],
        layout: Layout,
        faults: RowFaults,
        *,
        first_line: int = 1,
    ) -> None:
        """`first_line` is the number of the first of `lines`."""
        self._tape, self._layout, self._faults = _Tape(lines, first_line), layout, faults
        self.width: int | None = None
        """Most cells of a row, once that is known."""

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows."""
        tape, faults = self._tape, self._faults
        ended = False
        while not ended:
            try:
                ended = True
                found = records(tape, self._layout, faults.source, first_line=tape.line)
                for record in found:
                    fault = self._misplaced_quote(record) if tape.lines_of_row() > 1 else None
                    if fault is not None:
                        faults.add(record.line, *fault)
                        tape.go_back()
                        ended = False
                        break
                    tape.end_row()
                    yield Row(record.line, record.fields)
            except UnclosedQuoteError as error:
                faults.add(error.line, error.reason, error.remedy)
                tape.go_back()
                ended = False
            except _RowTooLongError:
                faults.add(tape.line, *too_long())
                tape.go_back()
                ended = False

    def _misplaced_quote(self, record: Record) -> tuple[str, str] | None:
        """Return why a row of several lines is no row, or None: the quote that joins the lines was
        not closed where it should be.
        """
        cells = record.fields
        if "broken" in record.kinds:
            return (
                "a quoted field begins in this row and is closed in the middle of another field",
                'close it, or write a quote inside a text as ""',
            )
        if self.width is not None and any(map(str.strip, cells[self.width :])):
            return wrong_width(len(cells), self.width, self._layout)
        return None
