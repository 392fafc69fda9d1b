"""The table of rows to review, and the rows to train without that are read back from it, or from a
plain list of row numbers.

Columns: row (from 0), line (in the file), label, suggested, p_model, p_tfidf (each witness's
probability of the label), reason, exclude (yes or no), text. A person mends the data, or strikes
rows and changes `exclude`; the texts guard against another file's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.data.files.row_writer import write_rows
from tamis.data.tables import Table
from tamis.errors import DataError

COLUMNS = ("row", "line", "label", "suggested", "p_model", "p_tfidf", "reason", "exclude", "text")
_YES, _NO = frozenset({"yes", "y", "true", "1", "x"}), frozenset({"no", "n", "false", "0", ""})


@dataclass(frozen=True)
class Finding:
    """A row that a person should look at."""

    row: int
    """From 0, of the whole table."""
    line: int
    """Of the file, from 1."""
    text: str
    label: str
    suggested: str | None = None
    """What both witnesses together would say, where the label is doubted."""
    p_model: float | None = None
    """The head's probability of the label, out of fold."""
    p_tfidf: float | None = None
    reason: str = ""
    exclude: bool = False
    """Whether training without the table's rows leaves this one out, unless a person says
    otherwise."""


def write_review(path: Path, findings: Sequence[Finding]) -> None:
    """Write the table (CSV, TSV, JSONL or Parquet by the name's ending), texts unchanged.

    Raises:
        ConfigError, DataError: as `write_rows`.
    """
    rows = ({name: _cell(name, getattr(one, name)) for name in COLUMNS} for one in findings)
    write_rows(path, rows, columns=COLUMNS)


def read_excluded_rows(path: Path, table: Table) -> list[int]:
    """Row numbers (from 0) to train without: the marked rows of a review table, all of them where
    there is no such column, or a list.

    Args:
        path: a table with a column `row`, or a text file with a row number a line.
        table: what is trained on; a review table's texts have to be its own.

    Raises:
        DataError: the file is missing or broken, a number is no row of the table, or its text is
            another.
    """
    from tamis.data.files.message_reader import read_messages

    if not path.is_file():
        raise DataError(
            f"{path}: there is no such file; write one with: tamis data DATA --label-issues {path}"
        )
    if path.suffix.lower() == ".txt":
        lines = path.read_text(encoding="utf-8").splitlines()
        return sorted(
            {
                _number(line, f"{path} line {n}", table)
                for n, line in enumerate(lines, 1)
                if line.strip()
            }
        )
    chosen: set[int] = set()
    if path.stat().st_size == 0:  # nothing was left to review in a format without a header
        return []
    for message in read_messages(path, text="text"):
        place = f"{path} line {message.line}"
        if "row" not in message.columns:
            raise DataError(
                f"{place}: expected a column row, as tamis data --label-issues writes it; got "
                f"{', '.join(message.columns)}"
            )
        row = _number(str(message.columns["row"]), place, table)
        if message.text != table.texts[row]:
            raise DataError(
                f"{place}: the text is not that of row {row} in {table.source}; the review "
                "belongs to another file or split, make it anew"
            )
        answer = str(message.columns.get("exclude", "yes")).strip().lower()
        if answer not in _YES | _NO:
            raise DataError(f"{place}: exclude must be yes or no, got {answer!r}")
        if answer in _YES:
            chosen.add(row)
    return sorted(chosen)


def _number(text: str, place: str, table: Table) -> int:
    try:
        row = int(text)
    except ValueError:
        raise DataError(f"{place}: expected a row number, got {text!r:.40}") from None
    if not 0 <= row < len(table):
        raise DataError(
            f"{place}: row {row} is not one of the {len(table)} rows of {table.source} (rows "
            "count from 0)"
        )
    return row


def _cell(name: str, value: object) -> object:
    if name == "exclude":
        return "yes" if value else "no"
    return round(value, 6) if isinstance(value, float) else value
