"""Read and split a labelled table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tamis.config import Recipe
from tamis.data import catalog
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


def load_dataset(data: str, recipe: Recipe) -> Dataset:
    """Read and split a table as the recipe specifies.

    Raises:
        DataError, ConfigError: see `tamis.data`.
    """
    located = catalog.resolve(data)
    settings = recipe.data
    table = read_table(located.path, text=settings.text, label=settings.label)
    check_trainable(table)
    test = (
        None
        if settings.test is None
        else read_table(Path(settings.test), text=settings.text, label=settings.label)
    )
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
    return Dataset(located.name, parts, (*located.notes, *table.notes, *parts.notes), excluded)
