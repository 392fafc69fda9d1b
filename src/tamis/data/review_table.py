"""The table of label issues to review, and the excluded rows read from it or from a list.

Columns: row (from 0), line (in the file), label, suggested, p_model and p_tfidf (the probability of
the label by the model and by TF-IDF), reason, exclude (yes or no), text. The user corrects the data
file, or deletes rows of the table or edits `exclude`. The texts are compared, so that the table of
another file is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.data.files.encoding import decode, read_bytes
from tamis.data.files.row_writer import write_rows
from tamis.data.tables import Table
from tamis.errors import DataError

COLUMNS = ("row", "line", "label", "suggested", "p_model", "p_tfidf", "reason", "exclude", "text")
LABEL_ERROR, CONFLICT, COPY, UNLIKE = "label error", "conflict", "copy", "out-of-distribution"
_COUNTED = {
    LABEL_ERROR: ("{} label is probably wrong", "{} labels are probably wrong"),
    CONFLICT: (
        "{} text has a near-duplicate with another label",
        "{} texts have near-duplicates with other labels",
    ),
    COPY: (
        "{} text is a near-duplicate with the same label",
        "{} texts are near-duplicates with the same label",
    ),
    UNLIKE: ("{} text is out-of-distribution", "{} texts are out-of-distribution"),
}
_YES, _NO = frozenset({"yes", "y", "true", "1", "x"}), frozenset({"no", "n", "false", "0", ""})


@dataclass(frozen=True)
class Finding:
    """A row to review."""

    row: int
    """0-based, in the whole table."""
    line: int
    """1-based, in the file."""
    text: str
    label: str
    suggested: str | None = None
    """The label that the model and TF-IDF together predict, if it differs."""
    p_model: float | None = None
    """The model's out-of-fold probability of the label."""
    p_tfidf: float | None = None
    reason: str = ""
    """A sentence."""
    kind: str = ""
    """What the findings are counted by: `LABEL_ERROR`, `CONFLICT`, `COPY` or `UNLIKE`."""
    exclude: bool = False
    """Whether training with this table leaves the row out, unless the user changes it."""


def write_review(path: Path, findings: Sequence[Finding]) -> None:
    """Write the table; the file's ending selects CSV, TSV, JSONL or Parquet. Texts are unchanged.

    Raises:
        ConfigError, DataError: see `write_rows`.
    """
    rows = ({name: _cell(name, getattr(one, name)) for name in COLUMNS} for one in findings)
    write_rows(path, rows, columns=COLUMNS)


def review_summary(data: str, path: Path, findings: Sequence[Finding]) -> str:
    """Return sentences that say how many rows of `data` the table at `path` has, and what to do."""
    if not findings:
        return f"Found no label issues in {data}; {path} has no rows."
    counts = Counter(finding.kind for finding in findings)
    told = "; ".join(
        words[counts[kind] != 1].format(f"{counts[kind]:,}")
        for kind, words in _COUNTED.items()
        if counts[kind]
    )
    rows = "1 row" if len(findings) == 1 else f"{len(findings):,} rows"
    marked = sum(finding.exclude for finding in findings)
    none = "No row is marked for exclusion."
    some = (
        f"{marked:,} {'row is' if marked == 1 else 'rows are'} marked for exclusion; to train "
        f"without them: tamis train {data} --exclude {path}"
    )
    return f"Wrote {rows} to {path}: {told}. {some if marked else none}"


def read_excluded_rows(path: Path, table: Table) -> list[int]:
    """Return the 0-based numbers of the rows to exclude from training.

    These are the rows marked in a review table (all its rows if it has no column `exclude`), or the
    rows of a list.

    Args:
        path: a table with a column `row`, or a text file with one row number per line.
        table: the training table; the texts of a review table must match it.

    Raises:
        DataError: the file is missing or broken, a number is not a row of the table, or a text
            differs from the table's.
    """
    from tamis.data.files.message_reader import read_messages

    if not path.is_file():
        raise DataError(
            f"{path}: there is no such file; write one with: tamis data DATA --label-issues {path}"
        )
    if path.suffix.lower() == ".txt":
        lines = (
            decode(read_bytes(path), str(path))[0].splitlines() if path.read_bytes().strip() else []
        )
        return sorted(
            {
                _number(line, f"{path} line {n}", table)
                for n, line in enumerate(lines, 1)
                if line.strip()
            }
        )
    chosen: set[int] = set()
    if path.stat().st_size == 0:  # no row to review, in a format without a header
        return []
    for message in read_messages(path, text="text"):
        place = f"{path} line {message.line}"
        if "row" not in message.columns:
            raise DataError(
                f"{place}: expected a column 'row', as tamis data --label-issues writes it; "
                f"found {', '.join(message.columns)}"
            )
        row = _number(str(message.columns["row"]), place, table)
        if message.text != table.texts[row]:
            raise DataError(
                f"{place}: the text differs from row {row} of {table.source}; the review table "
                "belongs to another file or split; write it again"
            )
        answer = str(message.columns.get("exclude", "yes")).strip().lower()
        if answer not in _YES | _NO:
            raise DataError(f"{place}: expected yes or no in column 'exclude', found {answer!r}")
        if answer in _YES:
            chosen.add(row)
    return sorted(chosen)


def _number(text: str, place: str, table: Table) -> int:
    try:
        row = int(text)
    except ValueError:
        raise DataError(f"{place}: expected a row number, found {text!r:.40}") from None
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
