"""Which rows below a header are rows of the table.

A row without any value is skipped, a repeated header line is skipped, missing cells at the end of a
row stay missing; all three are counted for the notes. Rows that are too wide are faults.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tamis.data.files.cells import SHOWN_CHARACTERS, Row, is_empty, quoted, shown_cells, trimmed
from tamis.data.files.column_names import LABEL_NAMES, plain_name
from tamis.data.files.counted_rows import Counted
from tamis.data.files.faulty_rows import FaultyRows
from tamis.data.files.header import header_roles, is_header_again


@dataclass(frozen=True)
class Source:
    """What messages about a file say."""

    name: str
    unit: str = "line"
    wrong_width: Callable[[int, int], tuple[str, str]] = field(
        default=lambda found, expected: (
            f"expected {expected} cells, found {found}",
            "remove the cells at its end, or name their columns in the header",
        )
    )
    """Takes the numbers of cells found and expected; returns the fault of a row and its remedy."""
    at_once: bool = False
    """Raise the first fault instead of collecting all, for streams."""
    faults: FaultyRows | None = None
    """Receives the faults; None: a new list."""


class RowCheck:
    """Yields a row that is one; counts the others, or adds them to the faults."""

    has_header = True

    def __init__(
        self,
        names: tuple[str, ...],
        source: Source,
        counted: Counted,
        faults: FaultyRows,
        rows: Sequence[Row] | None,
    ) -> None:
        """Look for repeated headers, in view of the first `rows`; not at all if None."""
        self._names, self._source, self._counted, self._faults = names, source, counted, faults
        self._looks_for_headers = rows is not None
        self._header = shown_cells(trimmed(names))
        self._roles = header_roles(names)
        # In a row `spam,text`, "spam" is a label if it is one in other rows.
        self._values: defaultdict[int, set[str]] = defaultdict(set)
        for row in rows or ():
            cells = shown_cells(row.cells)
            if not header_roles(cells):
                for column, cell in enumerate(cells):
                    if len(cell) < SHOWN_CHARACTERS and plain_name(cell) in LABEL_NAMES:
                        self._values[column].add(cell)

    def __call__(self, row: Row) -> Iterator[Row]:
        """Yield `row`, without empty cells that are too many, if it is a row of the table."""
        if self._looks_for_headers and self._is_header(row):
            return
        cells, expected = row.cells, len(self._names)
        if expected > 1 and all(map(is_empty, cells)):
            self._counted.add("blank", row.line)
            return
        if len(cells) > expected:
            cells = trimmed(cells)
        if len(cells) > expected:
            self._faults.add(row.line, *self._source.wrong_width(len(cells), expected))
            return
        if len(cells) < expected:
            self._counted.add("short", row.line)
        yield row._replace(cells=cells)

    def _is_header(self, row: Row) -> bool:
        cells = shown_cells(trimmed(row.cells))
        if self.has_header and (
            cells == self._header or (len(cells) > 1 and is_header_again(cells, self._header))
        ):
            self._counted.add("header", row.line)
            return True
        roles = header_roles(cells)
        if not roles or cells[roles["label"]] in self._values[roles["label"]]:
            return False
        if roles == self._roles:
            self._counted.add("header", row.line)
        else:
            above = quoted(self._names) if self.has_header else "a table without a header"
            self._faults.add(
                row.line,
                f"found a header line ({quoted(cells)}) that does not fit {above}",
                "write the rows below it to a file of their own, or give --no-header if it is a "
                "message",
            )
        return True
