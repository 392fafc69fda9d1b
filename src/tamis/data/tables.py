"""A labelled table of texts and labels, read from a file whose format is detected from its content.

Owns `Table` and the checks before training. The modules of `data/files` read the formats, and
`labelled_rows` takes texts and labels from them. The data documentation explains why the SMS Spam
Collection has 5,574 or 5,572 rows, depending on quoting.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tamis.data.files.byte_sources import source_name
from tamis.data.files.cells import shown_cells
from tamis.data.files.columns import find_both
from tamis.data.files.encoding import read_bytes
from tamis.data.files.faulty_rows import SHOWN, FaultyRows
from tamis.data.files.table_reader import SAMPLE_ROWS, Grid, HeaderOptions, Quoting, read_grid
from tamis.data.labelled_rows import (
    EMPTY_TEXT,
    LabelledRowReader,
    label_notes,
    skipped_notes,
)
from tamis.data.labels import label_order, one_spelling
from tamis.errors import DataError
from tamis.files import as_path


@dataclass(frozen=True)
class Table:
    """Rows of a text and a label. No character of a text is removed or changed; a label that is a
    number has one spelling (see `tamis.data.labels`).

    `lines[i]` is the 1-based line of `source` where row i begins (in Parquet and Excel the 1-based
    row). `fingerprint` is the SHA-256 of the file's bytes. `notes` tell the user how the file was
    read.
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
    has_header: bool | None = None
    """Whether the columns are named in the first row; None for rows that come from no file."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.texts)

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted: by value if all are numbers, otherwise as strings."""
        return tuple(label_order(self.labels))

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
        return f"{self.source} {self.unit} {self.lines[index]}"

    @property
    def unit(self) -> str:
        """What `lines` count: "row" in Parquet, Excel and data frames, otherwise "line"."""
        return "row" if self.format in ("parquet", "excel", "data frame") else "line"

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
    header: bool | None = None,
    quoting: Quoting = "auto",
    to_train: bool = False,
    skip_unlabelled: bool = False,
) -> Table:
    """Read the labelled rows of a CSV, TSV, Excel, JSONL, JSON or Parquet file.

    Args:
        path: the file.
        text: column of the texts, by name or 1-based position; None: detected by name, then by
            content.
        label: column of the labels, in the same way.
        header: whether the first row names the columns; None: decided by its content. JSON and
            Parquet always name them.
        quoting: "auto": quotes in tab-separated text are part of the texts unless they clearly
            quote fields; "pandas": as `pandas.read_csv` does by default, for split `tp2`.
        to_train: an empty text is a fault, which is reported together with all others.
        skip_unlabelled: leave out rows without a label, which are a fault otherwise; a note of the
            table counts them.

    Raises:
        DataError: the file is missing, empty, a directory, or of an unknown format or encoding; a
            column is missing or ambiguous; the first row could be a header or not; rows have a
            wrong number of fields, no label, or a value that is not a text. The message names the
            file and the lines.
        MissingExtraError: the file is Parquet or Excel and the package for it is not installed.
    """
    path = as_path(path, "path")
    source = source_name(path)
    content = read_bytes(path)
    named = tuple(name for name in (text, label) if name is not None)
    grid = read_grid(content, path, quoting=quoting, options=HeaderOptions(named, header))
    digest = hashlib.sha256(content).hexdigest()
    rules: dict[str, bool] = {"to_train": to_train, "skip_unlabelled": skip_unlabelled}
    return table_of(grid, source, digest, text=text, label=label, **rules)


def table_of(
    grid: Grid,
    source: str,
    fingerprint: str,
    *,
    text: str | None = None,
    label: str | None = None,
    to_train: bool = False,
    skip_unlabelled: bool = False,
) -> Table:
    """Return the table of a grid. `source` names it in messages, `fingerprint` is its hash; the
    other arguments and the errors are those of `read_table`.
    """
    faults = grid.faults
    if not grid.rows:
        faults.check()
        named = ", ".join(map(repr, grid.names))
        raise DataError(
            f"{source} has no rows, only the names of its columns ({named}); add rows with a label "
            "and a text"
            if named
            else f"{source} has no rows; add rows with a label and a text"
        )
    # From the whole table: many are sorted by their labels.
    step = 1 + (len(grid.rows) - 1) // SAMPLE_ROWS
    sample = [shown_cells(row) for row in grid.rows[::step]]
    columns = find_both(grid.names, sample, source=source, text=text, label=label)
    reader = LabelledRowReader(grid, columns, to_train=to_train, skip_unlabelled=skip_unlabelled)
    rows = [
        (line, *found)
        for line, row in zip(grid.lines, grid.rows, strict=True)
        if (found := reader.read(line, row)) is not None
    ]
    faults.check()
    if not rows:
        raise DataError(
            f"{source}: no row has a label in column {grid.names[columns[1]]!r}; fill in some "
            "labels, or choose another column with --label"
        )
    labels = [label for _, _, label in rows]
    spelled = one_spelling(labels, source)
    return Table(
        tuple(text for _, text, _ in rows),
        tuple(spelled[label] for label in labels),
        tuple(line for line, _, _ in rows),
        source,
        grid.names[columns[0]],
        grid.names[columns[1]],
        grid.format,
        grid.encoding,
        fingerprint,
        (
            *grid.notes,
            *_overflow(grid, *columns),
            *label_notes(labels, spelled, source),
            *skipped_notes(reader.skipped, source),
        ),
        grid.has_header,
    )


def check_trainable(table: Table) -> None:
    """Check that a table can be used for training; `read_table` does not check this.

    Raises:
        DataError: labels differ only in case or white space, **or** there is only one class, **or**
            there are on average fewer than two rows per class, **or** texts are empty. Nothing is
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
            f"rows for {len(table.classes)} classes; {_single_rows(table)}add rows, or check that "
            f"column {table.label_column!r} is the label"
        )
    faults = FaultyRows(table.source, table.unit)
    for line, content in zip(table.lines, table.texts, strict=True):
        if not content.strip():
            faults.add(line, *EMPTY_TEXT)
    faults.check()


def rare_label_notes(table: Table) -> list[str]:
    """Return a note that names the labels of which there is only one row, or an empty list."""
    rare = _single_rows(table)
    if not rare:
        return []
    return [
        f"{table.source}: {rare}a class of one row cannot be learned and has no test figures. Add "
        "rows, correct the label, or remove the row."
    ]


def _single_rows(table: Table) -> str:
    """Return "labels with a single row: ...; ", or nothing if there are none."""
    single = [
        f"{label!r} ({table.unit} {table.lines[table.labels.index(label)]})"
        for label, count in table.counts.items()
        if count == 1
    ]
    if not single:
        return ""
    more = f" and {len(single) - SHOWN:,} more" if len(single) > SHOWN else ""
    return f"labels with a single row: {', '.join(single[:SHOWN])}{more}; "


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
        # A column without a name at the front is an index.
        if name == str(column + 1) and column not in (0, text_column, label_column)
    ]
    rows = sum(any(row[column] for column in spare if column < len(row)) for row in grid.rows)
    if not rows:
        return []
    columns = ", ".join(grid.names[column] for column in spare)
    return [
        f"{rows} rows have values in columns without a name ({columns}); these are not part of "
        "their texts."
    ]
