"""Hooks of a fit, and where it stores what it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.config import Recipe
from tamis.evaluation.model_selection import Scores
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.progress import Progress, Silent


def ignore(*_: Any) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Callbacks:
    """Hooks of a fit; by default none does anything. What a hook raises ends the fit."""

    progress: Progress = field(default_factory=Silent)
    """is told which work goes on, and how far it is"""
    on_resolved: Callable[[Recipe], None] = ignore
    """called with the resolved recipe before anything long begins"""
    on_notice: Callable[[str], None] = ignore
    """called with a sentence: before training about settings that have no effect, and after an
    epoch in which training goes wrong"""
    on_epoch: Callable[[int, Scores], None] = ignore
    """called after each epoch of a training loop with its number (from 1) and its figures on the
    validation rows; not called where there are none"""
    checkpoint: Path | None = None
    """folder for the state of a training loop; a state of the same work in it is resumed"""
    cache: FeatureCache = NO_CACHE
    """keeps the states of a frozen trunk between fits"""


SILENT = Callbacks()
"""Hooks that do nothing."""
