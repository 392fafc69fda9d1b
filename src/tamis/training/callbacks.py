"""Hooks of a fit, and where it stores what it computes.

Without hooks, a fit is silent; its notices go to the logger `tamis.training` of Python's `logging`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from tamis.config import Recipe, fields
from tamis.evaluation.model_selection import Scores
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.progress import Progress, Silent

if TYPE_CHECKING:
    from tamis.training.loop import LoopCallback

logger = logging.getLogger("tamis.training")


def ignore(*_: Any) -> None:
    """Do nothing."""


def log_notice(sentence: str) -> None:
    """Write a warning to the logger."""
    logger.warning("%s", sentence)


class Tracker(Protocol):
    """Follows a training, such as an experiment tracker; a context manager that ends with it.

    `tamis.training.trackers` has those of `tamis train --log`. Pass your own to
    `Callbacks(trackers=[...])` or `tamis.train(log=[...])`. What a tracker raises ends the fit.
    """

    def __enter__(self) -> Self:
        """Start."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, after an error or after success."""
        ...

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Receive every resolved setting by name, such as `train.epochs`, before training."""
        ...

    def log(self, row: Mapping[str, Any]) -> None:
        """Receive a row of `history.jsonl`: `step` and figures. A resumed training begins with the
        rows before the interruption.
        """
        ...

    def finish(self, report: Mapping[str, Any]) -> None:
        """Receive the content of report.json after the evaluation; `fit` alone has none."""
        ...


def settings_by_name(recipe: Recipe) -> dict[str, Any]:
    """Return every setting of a recipe by its full name, such as `train.epochs`."""
    return {
        f"{section}.{key}" if section else key: getattr(
            getattr(recipe, section) if section else recipe, key
        )
        for section, key, _ in fields()
    }


@dataclass(frozen=True)
class Callbacks:
    """Hooks of a fit; by default none does anything. What a hook raises ends the fit."""

    progress: Progress = field(default_factory=Silent)
    """is told which work goes on, and how far it is"""
    on_resolved: Callable[[Recipe], None] = ignore
    """called with the resolved recipe before anything long begins"""
    on_notice: Callable[[str], None] = log_notice
    """called with a sentence: before training about settings that have no effect, and after an
    epoch in which training goes wrong; by default a warning of the logger `tamis.training`"""
    on_epoch: Callable[[int, Scores], None] = ignore
    """called after each epoch of a training loop with its number (from 1) and its figures on the
    validation rows; not called where there are none"""
    checkpoint: Path | None = None
    """folder for the state of a training loop; a state of the same work in it is resumed"""
    trackers: Sequence[Tracker] = ()
    """receive the settings and every row of the history; the caller opens and closes them"""
    loop: Sequence[LoopCallback] = ()
    """further callbacks of the training loop, such as one that measures in the middle of an epoch;
    not called by the exact head, nor in cross-validation"""
    cache: FeatureCache = NO_CACHE
    """keeps the states of a frozen trunk between fits"""


SILENT = Callbacks()
"""Hooks that do nothing."""
