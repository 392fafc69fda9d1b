"""Read and split a labelled table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.config import Recipe
from tamis.data import catalog
from tamis.data.frames import frame_table
from tamis.data.splits import DataSplit, split_table
from tamis.data.tables import check_trainable, read_table
from tamis.workflows.excluded_rows import exclude_rows


@dataclass(frozen=True)
class Dataset:
    """A labelled table with its split."""

    name: str
    split: DataSplit
    notes: tuple[str, ...]
    excluded: tuple[int, ...] = ()
    """Rows of the table that are excluded from training."""


def load_dataset(data: Any, recipe: Recipe) -> Dataset:
    """Read and split a table as the recipe specifies.

    Args:
        data: a file, the name of a known data set, or a table in memory (`frames.frame_table`).
        recipe: columns and split.

    Raises:
        DataError, ConfigError: see `tamis.data`.
    """
    settings = recipe.data
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
    parts = split_table(
        table,
        settings.split,
        seed=recipe.seed,
        validation_share=settings.validation_share,
        test=test,
    )
    parts, excluded = (
        (parts, ()) if settings.exclude is None else exclude_rows(parts, Path(settings.exclude))
    )
    notes = (*told, *table.notes, *parts.notes)
    return Dataset(name, parts, notes, excluded)
