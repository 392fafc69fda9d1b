"""A labelled table of texts and labels, read from a file whose format is detected from its content.

Owns `Table`, the checks of single rows and the checks before training. The modules of `data/files`
read the formats. The data documentation explains why the SMS Spam Collection has 5,574 or 5,572
rows, depending on quoting.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tamis.data.files.columns import find_both
from tamis.data.files.encoding import read_bytes
from tamis.data.files.table_reader import SAMPLE_ROWS, Grid, Quoting, read_grid
from tamis.errors import DataError


@dataclass(frozen=True)
class Table:
    """Rows of a text and a label, exactly as in the file: no character is removed or changed.

    `lines[i]` is the 1-based line of `source` where row i begins (in Parquet the 1-based row).
    `fingerprint` is the SHA-256 of the file's bytes. `notes` tell the user how the file was read.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    lines: tuple[int, ...]
    source: str
    text_column: str
    label_column: str
    format: str
    encoding: str
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.texts)

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each class, in the order of `classes`."""
        counted = Counter(self.labels)
        return {label: counted[label] for label in self.classes}

    def select(self, indices: Sequence[int]) -> Table:
        """Return the rows at `indices` (0-based), in that order, as a table of the same source."""
        return replace(
            self,
            texts=tuple(self.texts[index] for index in indices),
            labels=tuple(self.labels[index] for index in indices),
            lines=tuple(self.lines[index] for index in indices),
        )

    def where(self, index: int) -> str:
        """Return the file and line of row `index`, for messages."""
        return f"{self.source} {'row' if self.format == 'parquet' else 'line'} {self.lines[index]}"

    @classmethod
    def of(cls, texts: Sequence[str], labels: Sequence[str], *, source: str = "memory") -> Table:
        """Create a table from rows that come from no file; its fingerprint is that of the rows.

        Raises:
            DataError: the two lengths differ.
        """
        if len(texts) != len(labels):
            raise DataError(
                f"{source}: expected one label per text, got {len(texts)} texts and "
                f"{len(labels)} labels; make the lengths equal"
            )
        digest = hashlib.sha256(repr((list(texts), list(labels))).encode("utf-8", "surrogatepass"))
        lines = tuple(range(1, len(texts) + 1))
        return cls(
            tuple(texts),
            tuple(labels),
            lines,
            source,
            "text",
            "label",
            "memory",
            "none",
            digest.hexdigest(),
        )


def read_table(
    path: str | Path,
    *,
    text: str | None = None,
    label: str | None = None,
    quoting: Quoting = "auto",
) -> Table:
    """Read the labelled rows of a CSV, TSV, JSONL, JSON or Parquet file.

    Args:
        path: the file.
        text: column of the texts, by name or 1-based position; None: detected by name, then by
            content.
        label: column of the labels, in the same way.
        quoting: "auto": quotes in tab-separated text are part of the texts unless they clearly
            quote fields; "pandas": as `pandas.read_csv` does by default, for split `tp2`.

    Raises:
        DataError: the file is missing, empty, a directory, or of an unknown format or encoding; a
            column is missing or ambiguous; a row has a wrong number of fields, no label, or a value
            that is not a text. The message names the file and the line.
        MissingExtraError: the file is Parquet and polars is not installed.
    """
    path = Path(path)
    source = str(path)
    content = read_bytes(path)
    grid = read_grid(
        content, path, quoting=quoting, named=[name for name in (text, label) if name is not None]
    )
    if not grid.rows:
        raise DataError(
            f"{source}: expected rows, found only a header line; add rows with a label and a text"
        )
    sample = [[_shown(value) for value in row] for row in grid.rows[:SAMPLE_ROWS]]
    text_column, label_column = find_both(grid.names, sample, source=source, text=text, label=label)
    texts: list[str] = []
    labels: list[str] = []
    for line, row in zip(grid.lines, grid.rows, strict=True):
        place = f"{source} {grid.unit} {line}"
        texts.append(_text(row[text_column], place, grid.names[text_column]))
        labels.append(_label(row[label_column], place, grid.names[label_column]))
    return Table(
        tuple(texts),
        tuple(labels),
        tuple(grid.lines),
        source,
        grid.names[text_column],
        grid.names[label_column],
        grid.format,
        grid.encoding,
        hashlib.sha256(content).hexdigest(),
        (*grid.notes, *_overflow(grid, text_column, label_column)),
    )


def check_trainable(table: Table) -> None:
    """Check that a table can be used for training; `read_table` does not check this.

    Raises:
        DataError: labels differ only in case or white space, **or** there is only one class, **or**
            there are on average fewer than two rows per class, **or** a text is empty. Nothing is
            corrected silently.
    """
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for name in table.classes:
        spellings[" ".join(name.casefold().split())].append(name)
    for names in spellings.values():
        if len(names) > 1:
            rare = min(names, key=lambda name: (table.counts[name], name))
            raise DataError(
                f"{table.where(table.labels.index(rare))}: the labels "
                f"{', '.join(map(repr, names))} differ only in case or white space; write them "
                "the same way"
            )
    if len(table.classes) < 2:
        found = f"only {table.classes[0]!r}" if table.classes else "none"
        raise DataError(
            f"{table.source}: expected at least two classes in column {table.label_column!r}, "
            f"found {found}; add rows of another class"
        )
    if len(table) < 2 * len(table.classes):
        raise DataError(
            f"{table.source}: expected at least two rows for each class, found {len(table)} "
            "rows for "
            f"{len(table.classes)} classes; "
            f"add rows, or check that column {table.label_column!r} is the label"
        )
    for index, content in enumerate(table.texts):
        if not content.strip():
            raise DataError(
                f"{table.where(index)}: expected a text to train on, found an empty one; fill "
                "it in or remove the row"
            )


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _text(value: object, place: str, column: str) -> str:
    if not isinstance(value, str):
        found = "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"
        raise DataError(
            f"{place}: expected a text in column {column!r}, found {found}; make it a string or "
            "choose another column with --text"
        )
    return _plain_string(value, place, column)


def _label(value: object, place: str, column: str) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise DataError(
            f"{place}: expected a label in column {column!r}, found none; fill it in or remove "
            "the row"
        )
    if isinstance(value, list | dict | bytes):
        raise DataError(
            f"{place}: expected one label in column {column!r}, found {type(value).__name__} "
            f"{value!r:.40}; give a single value"
        )
    return _plain_string(_shown(value), place, column)


def _plain_string(value: str, place: str, column: str) -> str:
    if "\0" in value:
        raise DataError(f"{place}: column {column!r} contains a NUL character; remove it")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(
                f"{place}: column {column!r} contains half of a surrogate pair, which is not a "
                "character; remove it"
            ) from None
    return value


def _overflow(grid: Grid, text_column: int, label_column: int) -> list[str]:
    """Return a note if columns without a name contain values.

    Such values are text that ran over into extra columns, as in Kaggle's copy of the SMS Spam
    Collection.
    """
    if all(name.isdigit() for name in grid.names):
        return []
    spare = [
        column
        for column, name in enumerate(grid.names)
        if name == str(column + 1) and column not in (text_column, label_column)
    ]
    rows = sum(any(row[column] for column in spare) for row in grid.rows)
    if not rows:
        return []
    columns = ", ".join(grid.names[column] for column in spare)
    return [
        f"{rows} rows have values in columns without a name ({columns}); these are not part of "
        "their texts."
    ]
