"""Training, validation and test rows: `leakfree`, `tp2`, `stratified`, `almeida`, `none`.

Owns the parts and the choice of the positive label. Validation rows are part of the training part;
no group of near-duplicates is on both sides of the border between them and the other training rows.
Sources: Almeida et al. 2011 (the first 30 % train); pandas 2 `DataFrame.sample`.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tamis.data.deduplication import near_repeat_groups, repeat_key
from tamis.data.known_labels import with_known_labels
from tamis.data.labels import known_labels, label_order, matching_label
from tamis.data.tables import Table, check_trainable, rare_label_notes, read_table
from tamis.errors import ConfigError, DataError

Rows = NDArray[np.int64]
PartName = Literal["train", "fit", "validation", "test"]
TEST_SHARE = 0.2
TP2_SEED = 123
TP2_TRAIN_SHARE = 0.8
# The border that the authors used for the 5,574 messages; 30 % would be 1,672.
_ALMEIDA_TRAIN_ROWS = {5_574: 1_674}
_KEPT_ROWS = 2  # rows of each class that stay in the training part


@dataclass(frozen=True, eq=False)
class DataSplit:
    """A split table. `train` includes the `validation` rows; `fit` is `train` without them.

    `train` and `validation` are row indices of `table`. `test` has row indices of `test_table` if
    one was given, else of `table`. `texts("test")`, `labels("test")` and `lines("test")` use the
    right table.
    """

    table: Table
    name: str
    train: Rows
    validation: Rows
    test: Rows
    seed: int
    notes: tuple[str, ...] = ()
    test_table: Table | None = None

    @property
    def fit(self) -> Rows:
        """The training rows that are not validation rows, in the order of `train`."""
        return self.train[~np.isin(self.train, self.validation)]

    def rows(self, part: PartName) -> Rows:
        """Return the row indices of a part in `table_of(part)`."""
        return {
            "train": self.train,
            "fit": self.fit,
            "validation": self.validation,
            "test": self.test,
        }[part]

    def table_of(self, part: PartName) -> Table:
        """Return the table that contains the rows of a part."""
        return self.test_table if part == "test" and self.test_table is not None else self.table

    def select(self, part: PartName) -> Table:
        """Return a part as a table."""
        return self.table_of(part).select(self.rows(part).tolist())

    def texts(self, part: PartName) -> list[str]:
        """Return the texts of a part."""
        table = self.table_of(part)
        return [table.texts[row] for row in self.rows(part).tolist()]

    def labels(self, part: PartName) -> list[str]:
        """Return the labels of a part."""
        table = self.table_of(part)
        return [table.labels[row] for row in self.rows(part).tolist()]

    def lines(self, part: PartName) -> list[int]:
        """Return the line of the file where each row of a part begins."""
        table = self.table_of(part)
        return [table.lines[row] for row in self.rows(part).tolist()]

    def counts(self, part: PartName) -> dict[str, int]:
        """Return the number of rows of each class in a part, for every class of the table."""
        counted = Counter(self.labels(part))
        return {label: counted[label] for label in self.table.classes}


def split_table(
    table: Table,
    name: str,
    *,
    seed: int = 42,
    validation_share: float = 0.1,
    test: Table | None = None,
) -> DataSplit:
    """Split `table` by the split `name`; the same seed gives the same rows.

    leakfree    80/20, stratified as nearly as possible; repeats and near-duplicates stay on one
                side
    tp2         the file read again with pandas' default quoting, shuffled as the reference did; the
                first 80 % train (ignores the seed)
    stratified  80/20, stratified; repeats may be on both sides
    almeida     in the order of the file; the first 30 % train
    none        every row trains, no row tests

    With a `test` table every row of `table` trains, whatever the split; the split's name is only
    recorded. The validation part is `validation_share` of each class of the training part, drawn by
    whole groups of near-duplicates. A class with fewer than three rows keeps them all, so the
    validation part of a tiny table is empty.

    Raises:
        ConfigError: there is no split `name`, or `validation_share` is not in [0, 1).
        DataError: the table cannot be trained on (see `check_trainable`), the split leaves a class
            without training rows, the test table is empty, or it has a label that is not in the
            table.
    """
    if name not in _SPLITS:
        near = difflib.get_close_matches(name, _SPLITS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "choose one of them"
        raise ConfigError(f"split: expected one of {', '.join(_SPLITS)}, got {name!r}; {hint}")
    if not 0.0 <= validation_share < 1.0:
        raise ConfigError(
            "validation_share: expected a share of the training rows in [0, 1), got "
            f"{validation_share}; try 0.1"
        )
    notes: list[str] = []
    if name == "tp2" and test is None:
        table = _as_pandas_reads(table, notes)
    check_trainable(table)
    notes += rare_label_notes(table)
    groups = near_repeat_groups(table.texts)
    if test is None:
        train, held_out = _SPLITS[name](table, groups, np.random.default_rng(seed))
    else:
        test = _checked_test(table, test)
        train, held_out = _everything(table, groups, np.random.default_rng(seed))
        held_out = np.arange(len(test), dtype=np.int64)
        notes += _leak_notes(table, test)
    _check_classes(table, train, name)
    if name != "none" and test is None and not len(held_out):
        notes.append(
            f"{table.source} is too small for a test part: all {len(table)} rows are used for "
            "training, and there are no test figures."
        )
    labels = [table.labels[row] for row in train.tolist()]
    # A second random stream, so that the test rows do not depend on the validation share.
    chosen = _drawn(labels, groups[train], validation_share, np.random.default_rng([seed, 1]))
    if validation_share and not chosen.any():
        notes.append("There is no validation part: no class has enough rows for one.")
    return DataSplit(table, name, train, train[chosen], held_out, seed, tuple(notes), test)


def hold_out(labels: Sequence[str], groups: Rows, share: float, *, seed: int = 42) -> Rows:
    """Return the row numbers of a validation part: `share` of each class, by whole groups.

    A class that would keep fewer than two rows gives none. `groups`, (N,), numbers the rows that
    must stay together.
    """
    return np.flatnonzero(_drawn(labels, groups, share, np.random.default_rng([seed, 1]))).astype(
        np.int64
    )


def positive_label(labels: Sequence[str], requested: str | None = None) -> str:
    """Return the positive label: `requested`, else the rarest (a tie: the last in sorted order).

    Raises:
        ConfigError: `requested` is not one of the labels.
        DataError: there are no labels.
    """
    counts = Counter(labels)
    if not counts:
        raise DataError(
            "positive label: expected labels to choose from, got none; give a table with rows"
        )
    if requested is None:
        rarest = min(counts.values())
        return label_order(label for label, count in counts.items() if count == rarest)[-1]
    found = matching_label(requested, known_labels(counts))
    if found is None:
        near = difflib.get_close_matches(requested, list(counts), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; choose one of them"
        raise ConfigError(
            f"positive label: expected one of {', '.join(map(repr, label_order(counts)))}, got "
            f"{requested!r}{hint}"
        )
    return found


def _as_pandas_reads(table: Table, notes: list[str]) -> Table:
    if table.format not in ("csv", "tsv") or not Path(table.source).is_file():
        notes.append(
            "tp2 uses the rows as they were read: pandas' quoting applies to CSV and TSV files "
            "only."
        )
        return table
    try:
        again = read_table(
            table.source,
            text=table.text_column,
            label=table.label_column,
            header=table.has_header,
            quoting="pandas",
        )
    except DataError as error:
        notes.append(
            f"tp2 uses the {len(table)} rows as they were read, because pandas' default quoting "
            f"cannot read the file: {error}."
        )
        return table
    if again.fingerprint != table.fingerprint:
        raise DataError(
            f"{table.source}: the file changed while it was being read; run again when no "
            "program writes to it"
        )
    if len(again) != len(table):
        notes.append(
            f"tp2 reads {table.source} with pandas' default quoting, as the reference did: "
            f"{len(again):,} rows instead of {len(table):,}."
        )
    return again


def _tp2(table: Table, groups: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    # The same permutation as DataFrame.sample(frac=1, random_state=123).
    order = (
        np.random.RandomState(TP2_SEED)
        .choice(len(table), size=len(table), replace=False)
        .astype(np.int64)
    )
    border = int(TP2_TRAIN_SHARE * len(table))
    return order[:border], order[border:]


def _leakfree(table: Table, groups: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    return _both_sides(_drawn(table.labels, groups, TEST_SHARE, rng))


def _stratified(table: Table, groups: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    return _both_sides(_drawn(table.labels, np.arange(len(table), dtype=np.int64), TEST_SHARE, rng))


def _almeida(table: Table, groups: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    rows = np.arange(len(table), dtype=np.int64)
    border = _ALMEIDA_TRAIN_ROWS.get(len(table), round(0.3 * len(table)))
    return rows[:border], rows[border:]


def _everything(table: Table, groups: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    return np.arange(len(table), dtype=np.int64), np.empty(0, dtype=np.int64)


_SPLITS: dict[str, Callable[[Table, Rows, np.random.Generator], tuple[Rows, Rows]]] = {
    "leakfree": _leakfree,
    "tp2": _tp2,
    "stratified": _stratified,
    "almeida": _almeida,
    "none": _everything,
}
SPLITS = tuple(_SPLITS)


def _both_sides(drawn: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    return np.flatnonzero(~drawn).astype(np.int64), np.flatnonzero(drawn).astype(np.int64)


def _drawn(
    labels: Sequence[str], groups: Rows, share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which rows are drawn, (N,): `share` of each class, by whole groups.

    Every class keeps at least two rows. Groups of several rows are drawn with probability `share`,
    so that both sides have repeated texts in the same proportion as the table. Single rows then
    fill each class to its exact number.
    """
    drawn = np.zeros(len(labels), dtype=bool)
    if share <= 0.0 or not len(labels):
        return drawn
    _, codes = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    totals = np.bincount(codes)
    open_ = np.array(
        [min(max(1, int(share * n + 0.5)), max(0, n - _KEPT_ROWS)) for n in totals.tolist()]
    )
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(row)
    shuffled = [list(members.values())[at] for at in rng.permutation(len(members))]
    shuffled.sort(key=len, reverse=True)  # stable: groups of one size stay in random order
    lots = rng.random(len(shuffled))
    passed: list[list[int]] = []
    for group_rows, lot in zip(shuffled, lots.tolist(), strict=True):
        needed = np.bincount(codes[group_rows], minlength=len(totals))
        if (needed <= open_).all() and (len(group_rows) == 1 or lot < share):
            drawn[group_rows] = True
            open_ -= needed
        elif len(group_rows) > 1:
            passed.append(group_rows)
    for group_rows in reversed(
        passed
    ):  # if single rows did not suffice: the smallest groups that still fit
        needed = np.bincount(codes[group_rows], minlength=len(totals))
        if (needed <= open_).all():
            drawn[group_rows] = True
            open_ -= needed
    return drawn


def _check_classes(table: Table, train: Rows, name: str) -> None:
    present = {table.labels[row] for row in train.tolist()}
    absent = [label for label in table.classes if label not in present]
    if absent:
        raise DataError(
            f"{table.source}: split {name!r} leaves no training row of class {absent[0]!r} (it "
            "uses the rows in the order of the file); use --split leakfree or shuffle the file"
        )


def _checked_test(table: Table, test: Table) -> Table:
    if not len(test):
        raise DataError(f"{test.source}: expected test rows, found none; give a table with rows")
    return with_known_labels(
        test,
        table.classes,
        whose=f"the {len(table.classes)} labels of {table.source}",
        remedy="correct the row or add training rows of this class",
    )


def _leak_notes(table: Table, test: Table) -> list[str]:
    exact, keys = set(table.texts), {repeat_key(text) for text in table.texts}
    copies = sum(text in exact for text in test.texts)
    folded = sum(repeat_key(text) in keys for text in test.texts)
    if not folded:
        return []
    return [
        f"{folded:,} of {len(test):,} test rows are repeats of training rows ({copies:,} exact "
        "copies), so the test figures are too optimistic."
    ]
