"""The text and the label of each row of a grid, with the faults of rows that have none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tamis.data.files.cells import shown_cell
from tamis.data.files.faulty_rows import SHOWN
from tamis.data.files.table_reader import Grid
from tamis.data.labels import MISSING_WORDS

NO_LABEL = "fill it in or remove the row, or skip such rows with --skip-unlabelled"
"""What to do about a row without a label."""
EMPTY_TEXT = ("expected a text to train on, found an empty one", "fill it in or remove the row")
"""The fault of a row without text, and its remedy."""


class LabelledRowReader:
    """Takes the text and the label from rows of a grid; adds rows without them to its faults.

    `skipped` counts the rows without a label that were left out.
    """

    def __init__(
        self,
        grid: Grid,
        columns: tuple[int, int],
        *,
        to_train: bool,
        skip_unlabelled: bool = False,
    ) -> None:
        """Read the text and the label column of `grid`; `to_train` makes an empty text a fault,
        `skip_unlabelled` leaves rows without a label out.
        """
        self.skipped, self._skips = 0, skip_unlabelled
        self._text, self._label = columns
        self._text_name, self._label_name = (grid.names[column] for column in columns)
        self._faults, self._width, self._to_train = grid.faults, len(grid.names), to_train
        self._excel = grid.format == "excel"

    def read(self, line: int, row: Sequence[object]) -> tuple[str, str] | None:
        """Return text and label, or None if the row is faulty."""
        before = len(self._faults)
        if self._skips and (self._label >= len(row) or _is_missing(row[self._label])):
            self.skipped += 1
            return None
        if max(self._text, self._label) >= len(row):
            missing = (
                f"label in column {self._label_name!r}"
                if self._label >= len(row)
                else f"text in column {self._text_name!r}"
            )
            self._faults.add(
                line,
                f"expected a {missing}, found only {len(row)} of {self._width} fields",
                NO_LABEL if self._label >= len(row) else "fill it in or remove the row",
            )
            return None
        text = self._text_of(line, row[self._text])
        label = self._label_of(line, row[self._label]) if len(self._faults) == before else ""
        return None if len(self._faults) > before else (text, label)

    def _text_of(self, line: int, value: object) -> str:
        if self._excel and not isinstance(value, str):
            value = shown_cell(value)  # Excel stores a message of digits as a number
        if not isinstance(value, str):
            found = "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"
            self._faults.add(
                line,
                f"expected a text in column {self._text_name!r}, found {found}",
                "make it a string or choose another column with --text",
            )
            return ""
        if self._to_train and not value.strip():
            self._faults.add(line, *EMPTY_TEXT)
        return self._plain_string(line, value, self._text_name)

    def _label_of(self, line: int, value: object) -> str:
        if _is_missing(value):
            self._faults.add(
                line,
                f"expected a label in column {self._label_name!r}, found none",
                NO_LABEL,
            )
            return ""
        if isinstance(value, list | dict | bytes):
            self._faults.add(
                line,
                f"expected one label in column {self._label_name!r}, found "
                f"{type(value).__name__} {value!r:.40}",
                "give a single value",
            )
            return ""
        return self._plain_string(line, shown_cell(value), self._label_name)

    def _plain_string(self, line: int, value: str, column: str) -> str:
        fault = ""
        if "\0" in value:
            fault = "a NUL character"
        elif not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                fault = "half of a surrogate pair, which is not a character"
        if fault:
            self._faults.add(line, f"column {column!r} contains {fault}", "remove it")
        return value


def _is_missing(value: object) -> bool:
    """Return whether a label is None, NaN or white space."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def label_notes(labels: Sequence[str], spelled: Mapping[str, str], source: str) -> list[str]:
    """Return notes on labels of several spellings, and on labels that may be missing values."""
    notes = []
    merged: defaultdict[str, list[str]] = defaultdict(list)
    for label, name in spelled.items():
        merged[name].append(label)
    several = [name for name, found in merged.items() if len(found) > 1]
    if several:
        shown = "; ".join(" and ".join(map(repr, merged[name])) for name in several[:SHOWN])
        notes.append(
            f"{source}: labels that are the same number are one label ({shown}); it is written "
            f"{', '.join(map(repr, several[:SHOWN]))}."
        )
    counts = Counter(labels)
    doubtful = [name for name in counts if name.strip().lower() in MISSING_WORDS]
    if doubtful and len(doubtful) < len(counts):
        shown = ", ".join(f"{name!r} ({counts[name]:,} rows)" for name in doubtful)
        notes.append(
            f"{source}: the label {shown} is a class here, but some programs write it for a "
            "missing value. Remove these rows if they have no label."
        )
    return notes


def skipped_notes(count: int, source: str) -> list[str]:
    """Return a note on the rows without a label that were left out, or an empty list."""
    if not count:
        return []
    were = "row without a label was" if count == 1 else "rows without a label were"
    return [f"{source}: {count:,} {were} skipped."]
