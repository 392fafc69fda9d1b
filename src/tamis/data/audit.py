"""Audit of a data set before training: classes, lengths, repeats, leaks, label issues.

Owns the figures that `tamis data` prints. The caller passes the function that counts tokens and the
function that computes out-of-fold probabilities.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tamis.data.deduplication import exact_groups, near_repeat_groups, repeat_key
from tamis.data.files.row_writer import write_rows
from tamis.data.splits import DataSplit, PartName, Rows
from tamis.errors import DataError

TokenLengths = Callable[[Sequence[str]], Sequence[int]]
OutOfFold = Callable[[Sequence[str], Sequence[str], NDArray[np.int64]], NDArray[np.float64]]
Aligned = Callable[[Sequence[Sequence[str]]], list[str]]
_PRINTED_CHARACTERS = 80
_PRINTED_ISSUES = 10


@dataclass(frozen=True)
class PartAudit:
    """Figures of one part.

    `classes` has the rows of each class, `batches` the number of batches of `batch_rows` rows,
    `tokens` the total number of tokens, `longest` the tokens of the longest text.
    """

    rows: int
    classes: dict[str, int]
    batches: int
    tokens: int
    longest: int


@dataclass(frozen=True)
class TrainAudit(PartAudit):
    """The training part, including the validation rows; `fit_rows` counts the rows without them."""

    fit_rows: int


@dataclass(frozen=True)
class Repeats:
    """Repeated texts: `texts` distinct texts occur more than once, with `rows` extra copies."""

    texts: int
    rows: int


@dataclass(frozen=True)
class RepeatsAudit:
    """Repeats inside the table: exact, after normalization, and including near-duplicates.

    `conflicting` counts the normalized texts that have more than one label.
    """

    exact: Repeats
    normalized: Repeats
    near: Repeats
    conflicting: int
    parts: dict[str, int]  # exact copies (rows beyond the first) inside each part


@dataclass(frozen=True)
class Leak:
    """Test rows whose text also occurs in the training part.

    `rows` is their number, `share` their fraction of the test rows (0 to 1), and `by_class` the
    fraction of each class's test rows.
    """

    rows: int
    share: float
    by_class: dict[str, float]


@dataclass(frozen=True)
class LeaksAudit:
    """Test rows that occur in the training part: exactly, normalized, or as near-duplicates."""

    exact: Leak
    normalized: Leak
    near: Leak


@dataclass(frozen=True)
class LabelIssue:
    """A row whose label has a low out-of-fold probability.

    `row` is 0-based. `line` is the line in the file. `probability` is that of the row's label, from
    a model that was not trained on the row.
    """

    row: int
    line: int
    text: str
    label: str
    probability: float


@dataclass(frozen=True)
class Audit:
    """All figures of one split table."""

    source: str
    split: str
    batch_rows: int
    train: TrainAudit
    validation: PartAudit
    test: PartAudit
    repeats: RepeatsAudit
    leaks: LeaksAudit
    label_issues: tuple[LabelIssue, ...] | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `label_issues` is null if the labels were not checked."""
        values = asdict(self)
        parts = {part: values.pop(part) for part in ("train", "validation", "test")}
        values["label_issues"] = (
            None if self.label_issues is None else [asdict(row) for row in self.label_issues]
        )
        return {**values, "notes": list(self.notes), "parts": parts}

    def lines(self, aligned: Aligned | None = None) -> list[str]:
        """Return the same figures as lines for the console; `aligned` makes lines of tables."""
        aligned = aligned or _aligned
        classes = list(self.train.classes)
        shown = classes if len(classes) <= 6 else []
        head = ["part", "rows", "batches", "tokens", "longest", *shown]
        table = [head]
        for name, part in (
            ("train", self.train),
            ("validation", self.validation),
            ("test", self.test),
        ):
            counts = [
                f"{part.classes[label]:,} ({_percent(part.classes[label], part.rows)})"
                for label in shown
            ]
            table.append(
                [
                    name,
                    *(
                        f"{value:,}"
                        for value in (part.rows, part.batches, part.tokens, part.longest)
                    ),
                    *counts,
                ]
            )
        out = [
            f"{self.source}, split {self.split}, batches of {self.batch_rows} rows",
            *aligned(table),
        ]
        out.append(
            f"Training rows include the validation rows; {self.train.fit_rows:,} rows remain "
            "without them."
        )
        if not shown:
            rarest = min(classes, key=lambda label: (self.train.classes[label], label))
            commonest = max(classes, key=lambda label: (self.train.classes[label], label))
            out.append(
                f"{len(classes)} classes, from {self.train.classes[rarest]:,} training rows "
                f"({rarest}) to "
                f"{self.train.classes[commonest]:,} ({commonest})."
            )
        repeats = self.repeats
        out.append(
            f"Repeats in the table: {repeats.exact.rows:,} exact copies, "
            f"{repeats.normalized.rows:,} after normalization, {repeats.near.rows:,} with "
            "near-duplicates."
        )
        if repeats.conflicting:
            out.append(f"Repeated texts with more than one label: {repeats.conflicting:,}.")
        if self.test.rows:
            out += [
                "Test rows that also occur in the training part:",
                *aligned(_leak_table(self.leaks, shown)),
            ]
        if self.label_issues is not None:
            have = "row has" if len(self.label_issues) == 1 else "rows have"
            sure = sum(row.probability < 0.1 for row in self.label_issues)
            out.append(
                f"Label issues: {len(self.label_issues):,} {have} a label whose out-of-fold "
                f"probability is below 0.5; in {sure:,} of them it is below 0.1."
            )
            for row in self.label_issues[:_PRINTED_ISSUES]:
                out.append(
                    f"  line {row.line}: the label {row.label!r} has the probability "
                    f"{row.probability:.3f}: {_shortened(row.text)}"
                )
            if len(self.label_issues) > _PRINTED_ISSUES:
                out.append(f"  and {len(self.label_issues) - _PRINTED_ISSUES:,} more.")
        return [*out, *self.notes]


def audit(
    split: DataSplit,
    *,
    token_lengths: TokenLengths,
    out_of_fold: OutOfFold | None = None,
    batch_rows: int = 16,
    issue_threshold: float = 0.5,
) -> Audit:
    """Compute the figures of a split table.

    Arguments (N = rows of the table, K = classes):
        token_lengths    takes texts, returns the number of tokens of each
        out_of_fold      takes texts, labels and (N,) groups of near-duplicates; returns (N, K)
                         probabilities from models that were fitted without the row's group, columns
                         in sorted order of the labels; None: labels are not checked
        batch_rows       rows of a batch
        issue_threshold  lists the rows whose label has a lower probability, lowest first

    Raises:
        DataError: `token_lengths` or `out_of_fold` returns a wrong shape.
    """
    table = split.table
    own_groups = near_repeat_groups(table.texts)
    joint = table.texts + (split.test_table.texts if split.test_table else ())
    joint_groups = near_repeat_groups(joint) if split.test_table else own_groups
    keys = [repeat_key(text) for text in joint]
    offset = len(table) if split.test_table else 0
    train = _part(split, "train", token_lengths, batch_rows)
    return Audit(
        source=table.source,
        split=split.name,
        batch_rows=batch_rows,
        train=TrainAudit(**vars(train), fit_rows=len(split.fit)),
        validation=_part(split, "validation", token_lengths, batch_rows),
        test=_part(split, "test", token_lengths, batch_rows),
        repeats=_repeats(split, keys[: len(table)], own_groups),
        leaks=LeaksAudit(
            exact=_leak(split, exact_groups(joint), offset),
            normalized=_leak(split, exact_groups(keys), offset),
            near=_leak(split, joint_groups, offset),
        ),
        label_issues=None
        if out_of_fold is None
        else _label_issues(split, out_of_fold, own_groups, issue_threshold),
        notes=(*table.notes, *(split.test_table.notes if split.test_table else ()), *split.notes),
    )


def write_split(split: DataSplit, directory: str | Path) -> list[Path]:
    """Write `train.csv` (without the validation rows), `validation.csv` and `test.csv`.

    Returns the paths. The files are UTF-8 with the columns `label` and `text`; texts are unchanged.
    `read_table` and pandas can read them.

    Raises:
        DataError: the directory or a file cannot be written.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{directory}: the folder cannot be created ({error.strerror or error}); choose another"
        ) from error
    written: list[Path] = []
    names: dict[str, PartName] = {"train": "fit", "validation": "validation", "test": "test"}
    for name, part in names.items():
        path = directory / f"{name}.csv"
        rows = zip(split.labels(part), split.texts(part), strict=True)
        write_rows(
            path,
            ({"label": label, "text": text} for label, text in rows),
            columns=("label", "text"),
        )
        written.append(path)
    return written


def _part(
    split: DataSplit, name: PartName, token_lengths: TokenLengths, batch_rows: int
) -> PartAudit:
    texts = split.texts(name)
    lengths = [int(length) for length in token_lengths(texts)] if texts else []
    if len(lengths) != len(texts):
        raise DataError(
            f"audit: expected a token count for each of {len(texts)} texts, got {len(lengths)}; "
            "fix `token_lengths`"
        )
    return PartAudit(
        len(texts),
        split.counts(name),
        -(-len(texts) // batch_rows),
        sum(lengths),
        max(lengths, default=0),
    )


def _repeated(groups: Rows) -> Repeats:
    counts = np.bincount(groups)
    repeated = counts[counts > 1]
    return Repeats(len(repeated), int((repeated - 1).sum()))


def _repeats(split: DataSplit, keys: Sequence[str], near: Rows) -> RepeatsAudit:
    labels_of: defaultdict[str, set[str]] = defaultdict(set)
    for key, label in zip(keys, split.table.labels, strict=True):
        labels_of[key].add(label)
    inside = {
        name: sum(count - 1 for count in Counter(split.texts(name)).values())
        for name in get_args(PartName)
        if name != "fit"
    }
    return RepeatsAudit(
        exact=_repeated(exact_groups(split.table.texts)),
        normalized=_repeated(exact_groups(keys)),
        near=_repeated(near),
        conflicting=sum(len(labels) > 1 for labels in labels_of.values()),
        parts=inside,
    )


def _leak(split: DataSplit, groups: Rows, offset: int) -> Leak:
    """Count leaked test rows.

    `groups` covers the table, then the test table (from `offset`) if there is one.
    """
    leaked = np.isin(groups[split.test + offset], groups[split.train])
    labels = np.asarray(split.labels("test"), dtype=object)
    by_class = {}
    for label in split.table.classes:
        own = leaked[labels == label]
        by_class[label] = float(own.mean()) if len(own) else 0.0
    return Leak(int(leaked.sum()), float(leaked.mean()) if len(leaked) else 0.0, by_class)


def _label_issues(
    split: DataSplit, out_of_fold: OutOfFold, groups: Rows, below: float
) -> tuple[LabelIssue, ...]:
    table = split.table
    probabilities = np.asarray(out_of_fold(table.texts, table.labels, groups), dtype=np.float64)
    if probabilities.shape != (len(table), len(table.classes)):
        raise DataError(
            "audit: expected out-of-fold probabilities of shape "
            f"{(len(table), len(table.classes))}, got {probabilities.shape}; fix `out_of_fold`"
        )
    codes = np.asarray([table.classes.index(label) for label in table.labels])
    own = probabilities[np.arange(len(table)), codes]
    order = [row for row in np.argsort(own, kind="stable").tolist() if own[row] < below]
    return tuple(
        LabelIssue(row, table.lines[row], table.texts[row], table.labels[row], float(own[row]))
        for row in order
    )


def _leak_table(leaks: LeaksAudit, classes: Sequence[str]) -> list[list[str]]:
    rows = [["", "rows", "share", *(f"of {label}" for label in classes)]]
    for name, leak in (
        ("exact copies", leaks.exact),
        ("normalized", leaks.normalized),
        ("near-duplicates", leaks.near),
    ):
        rows.append(
            [
                name,
                f"{leak.rows:,}",
                f"{leak.share:.1%}",
                *(f"{leak.by_class[label]:.1%}" for label in classes),
            ]
        )
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _percent(count: int, rows: int) -> str:
    return f"{count / rows:.1%}" if rows else "0 %"


def _shortened(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _PRINTED_CHARACTERS else folded[: _PRINTED_CHARACTERS - 1] + "…"
