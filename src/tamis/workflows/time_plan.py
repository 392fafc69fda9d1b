"""What a training is going to do and how long it takes here, in words."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from tamis.config import Recipe
from tamis.training.depth import expected_depth
from tamis.training.forecast import Forecast, Work
from tamis.training.measured_speed import Speed, measured_speed
from tamis.training.prepare import exact_head
from tamis.training.resolve import ResolvedRecipe
from tamis.training.time_estimate import BYTES_A_TOKEN, REACHED, SLOW_GFLOPS
from tamis.workflows.dataset import Dataset
from tamis.workflows.quick_model import shape_of

SHORT_S, FEW_ROWS = 30.0, 50
"""Work that a slow machine does in this time, and tables of so few rows, are not measured: nobody
is to wait for it."""
SHORT_SHARE, TINY_S = 0.2, 2.0
"""With a budget instead: this share of it, and what is never measured."""
LOW, HIGH = 0.7, 1.6
"""A forecast is said as a range: other programs come and go, and early stopping ends sooner."""


@dataclass(frozen=True)
class TimePlan:
    """A forecast, and whether it was measured."""

    forecast: Forecast
    measured_s: float | None
    """seconds that the measurement took; None: counted for a slow machine, not measured"""

    def words(self, low: float, high: float) -> str:
        """Return a duration in words: a range, or a limit where nothing was measured."""
        if self.measured_s is None:
            return f"less than {_rounded(high * HIGH)}"
        return duration_range(low * LOW, high * HIGH)


def plan_time(
    resolved: ResolvedRecipe, dataset: Dataset, *, budget_s: float | None = None
) -> TimePlan:
    """Forecast the seconds of a training. Longer ones are measured with a few of the rows.

    Args:
        resolved: the recipe, with device and threads.
        dataset: training and test rows.
        budget_s: seconds that the training may take; None: no limit.

    Raises:
        ConfigError, CheckpointError, DownloadError: the backbone cannot be loaded.
    """
    recipe, parts = resolved.recipe, dataset.split
    texts, labels = parts.texts("train"), parts.labels("train")
    whole, channels = shape_of(recipe.backbone)
    blocks = expected_depth(recipe, whole)
    # Two operations a weight forward, four backward; a block has 12 C^2 weights.
    weight_s = 12 * channels**2 * (blocks + 1) / (REACHED * SLOW_GFLOPS * 1e9)
    speed = Speed(2.0 / BYTES_A_TOKEN, 2 * weight_s, 0 if exact_head(recipe) else 6 * weight_s)

    def forecast(found: Speed) -> Forecast:
        work = Work.of(
            recipe,
            (texts, labels),
            parts.texts("test"),
            positive=resolved.positive,
            tokens_per_byte=found.tokens_per_byte,
            shape=(blocks, channels),
        )
        return Forecast(work, found, recipe.tune)

    counted = forecast(speed)
    short = SHORT_S if len(texts) > FEW_ROWS else math.inf
    if budget_s is not None:  # what fits into it cannot be told from a count for a slow machine
        short = max(TINY_S, SHORT_SHARE * budget_s)
    if counted.tuning(recipe) <= short:
        return TimePlan(counted, None)
    begun = time.perf_counter()
    measured = forecast(measured_speed(recipe, texts, labels))
    return TimePlan(measured, time.perf_counter() - begun)


def plan_sentence(
    plan: TimePlan, recipe: Recipe, *, quick: bool, minutes: float | None = None
) -> str:
    """Describe what is going to happen and how long it takes.

    Args:
        plan: the forecast.
        recipe: resolved, of the last model.
        quick: whether a quick model is made before it.
        minutes: a budget for everything; None: no limit.
    """
    forecast, rows = plan.forecast, plan.forecast.work.rows
    first = forecast.head(selection=False) + forecast.evaluation(ood=False)
    last = forecast.tuning(recipe) + forecast.evaluation()
    source = (
        ""
        if plan.measured_s is None
        else f" (estimated from {plan.measured_s:.1f} s of the same work on this machine)"
    )
    said = f"{rows:,} training row{'s' * (rows != 1)}"
    if not quick:
        return f"Plan: {what(recipe)} on {said}, {plan.words(last, last)}{source}."
    begin = (
        f"Plan: first a quick model (the exact head on frozen features of {recipe.backbone}) on "
        f"{said}, {plan.words(first, first)}"
    )
    if minutes is not None:
        limit = f"{minutes:g} minute{'s' * (minutes != 1)}"
        return f"{begin}; then what can be tuned within {limit} in all{source}."
    return (
        f"{begin}; then {what(recipe)}, {plan.words(last, last)} more{source}. --quick stops after "
        "the quick model, --minutes limits the whole."
    )


def what(recipe: Recipe) -> str:
    """Describe what a resolved recipe trains."""
    if exact_head(recipe):
        return "the exact head"
    passes, folds = recipe.train.epochs or 1, recipe.decision.cv_folds or 0
    times = f"{passes} epoch{'s' * (passes != 1)}"
    if folds:
        times += f", once for each of {folds} cross-validation folds and once for all rows"
    if recipe.blocks:
        part = f"the last {recipe.blocks} blocks" if recipe.blocks > 1 else "the last block"
    elif recipe.rank:
        part = f"adapters of rank {recipe.rank} (LoRA)"
    else:
        part = "the head" if recipe.tune == "head" else "the whole model"
    return f"{part} ({times})"


def duration_range(low: float, high: float) -> str:
    """Return a range of seconds in words, with units and numbers that a person would choose."""
    if high < 10:
        return "less than 10 seconds"
    if high < 100:
        return f"{max(5, _floor(low, 5)):.0f} to {_ceil(high, 5):.0f} seconds"
    if high < 5400:
        step = 60.0 if high > 600 else 30.0
        first, last = max(step, _floor(low, step)) / 60, _ceil(high, step) / 60
        return f"{first:g} to {last:g} minutes"
    first, last = max(1800, _floor(low, 1800)) / 3600, _ceil(high, 1800) / 3600
    return f"{first:g} to {last:g} hours"


def _rounded(seconds: float) -> str:
    if seconds > 100:
        return f"{_ceil(seconds, 60) / 60:g} minutes"
    return f"{max(10, _ceil(seconds, 10)):.0f} seconds"


def _floor(value: float, step: float) -> float:
    return math.floor(value / step) * step


def _ceil(value: float, step: float) -> float:
    return math.ceil(value / step) * step
