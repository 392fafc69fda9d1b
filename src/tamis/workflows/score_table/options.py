"""How a table is read and written by `tamis score`."""

from __future__ import annotations

from dataclasses import dataclass

from tamis.errors import ConfigError
from tamis.workflows.score_table.parts import PART_ROWS


@dataclass(frozen=True)
class ScoreOptions:
    """How the table is read and written."""

    text: str | None = None
    """text column; None: that of the model's training table, else found by name or content"""
    header: bool | None = None
    """whether the first row of delimited text names the columns; None: decided by its content"""
    part_rows: int = PART_ROWS
    max_bad: int | None = None
    """stop when more rows than this are bad; None: never"""
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is too small.
        """
        if self.part_rows < 1:
            raise ConfigError(f"part_rows: expected at least 1, got {self.part_rows}")
        if self.max_bad is not None and self.max_bad < 0:
            raise ConfigError(f"max_bad: expected at least 0, got {self.max_bad}")
