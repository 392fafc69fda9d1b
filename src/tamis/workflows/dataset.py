"""Read and split a labelled table."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.config import Recipe
from tamis.data import catalog
from tamis.data.frames import frame_table
from tamis.data.splits import DataSplit, split_table
from tamis.data.tables import Table, check_trainable, read_table
from tamis.workflows.excluded_rows import exclude_rows

SHOWN_CLASSES = 4
"""Labels that are named when a table was read; of more classes the number is said."""


@dataclass(frozen=True)
class ReadTable:
    """A labelled table that was read and can be trained on. It is not split yet."""

    name: str
    table: Table
    test: Table | None
    """with test rows of its own"""
    notes: tuple[str, ...]
    seconds: float
    """that reading took"""

    def sentence(self) -> str:
        """Return what was read, in words."""
        counts = Counter(self.table.labels).most_common()
        listed = ", ".join(f"{count:,} {label!r}" for label, count in counts)
        classes = listed if len(counts) <= SHOWN_CLASSES else f"{len(counts)} classes"
        return f"Read {len(self.table):,} rows of {self.name}: {classes}."


@dataclass(frozen=True)
class Dataset:
    """A labelled table with its split."""

    name: str
    split: DataSplit
    notes: tuple[str, ...]
    excluded: tuple[int, ...] = ()
    """Rows of the table that are excluded from training."""


def read_data(data: Any, recipe: Recipe) -> ReadTable:
    """Read a table as the recipe specifies. Imports neither torch nor scikit-learn.

    Args:
        data: a file, the name of a known data set, or a table in memory (`frames.frame_table`).
        recipe: columns.

    Raises:
        DataError, ConfigError: see `tamis.data`.
    """
    begun, settings = time.perf_counter(), recipe.data
    rows: dict[str, Any] = {
        "text": settings.text,
        "label": settings.label,
        "skip_unlabelled": settings.skip_unlabelled,
    }
    columns = rows | {"header": settings.header}
    if isinstance(data, str | Path):
        located = catalog.resolve(str(data))
        name, told = located.name, located.notes
        table = read_table(located.path, **columns, to_train=True)
    else:
        name, told = "dataframe", ()
        table = frame_table(data, **rows, to_train=True)
    check_trainable(table)
    test = None if settings.test is None else read_table(Path(settings.test), **columns)
    return ReadTable(name, table, test, (*told, *table.notes), time.perf_counter() - begun)


def load_dataset(data: Any, recipe: Recipe) -> Dataset:
    """Read and split a table as the recipe specifies.

    Args:
        data: as for `read_data`, or its result.
        recipe: columns and split.

    Raises:
        DataError, ConfigError: see `tamis.data`.
    """
    read, settings = data if isinstance(data, ReadTable) else read_data(data, recipe), recipe.data
    parts = split_table(
        read.table,
        settings.split,
        seed=recipe.seed,
        validation_share=settings.validation_share,
        test=read.test,
    )
    parts, excluded = (
        (parts, ()) if settings.exclude is None else exclude_rows(parts, Path(settings.exclude))
    )
    return Dataset(read.name, parts, (*read.notes, *parts.notes), excluded)
