"""The training that ends within a time budget on this machine.

It is chosen by a forecast. If it turns out slower, it is stopped, and a smaller one is chosen by
the speed that was seen. What was chosen is in the recipe, so the same recipe gives the same bytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tamis.classifier.text_classifier import TextClassifier
from tamis.config import Recipe
from tamis.training.callbacks import Tracker
from tamis.training.forecast import Choice, Forecast, choose_within
from tamis.training.trackers import HistoryTracker
from tamis.workflows.deadline import Deadline, TooSlowError
from tamis.workflows.environment import Say
from tamis.workflows.time_plan import duration_range, what

STARTUP_S = 5.0
"""Seconds for starting Python and importing torch, before the command looks at a clock."""
USED = 0.85
"""Share of the time left that a training is chosen for."""
SLOWEST = 1.2
"""A training that was stopped is at least so many times slower than its forecast."""


@dataclass(frozen=True)
class Budget:
    """A time budget and what it is spent on."""

    minutes: float
    begun: float
    """`time.monotonic()` when the command began"""
    asked: Recipe
    resolved: Recipe
    """as planned without a budget"""
    forecast: Forecast

    @property
    def deadline(self) -> float:
        """When tuning has to be done, so that evaluation and writing end in time."""
        return self.begun + 60 * self.minutes - STARTUP_S - self.forecast.evaluation()

    def fit(
        self,
        train: Callable[[Recipe, Deadline, int], TextClassifier],
        say: Say,
        note: Callable[[dict[str, Any]], None],
    ) -> TextClassifier | None:
        """Choose a training and go through with it.

        Args:
            train: trains a recipe and watches a deadline; is told the number of the attempt.
            say: receives what was chosen.
            note: receives it as values.

        Returns:
            None if nothing fits: the quick model is the result.
        """
        forecast, attempt = self.forecast, 0
        while True:
            left = self.deadline - time.monotonic()
            choice = choose_within(USED * left, self.asked, self.resolved, forecast)
            self._tell(choice, forecast, say, note)
            if choice is None:
                return None
            folds = choice.cv_folds or 0
            deadline = Deadline(self.deadline, trainings=1 + folds if folds > 1 else 1)
            try:
                return train(choice.apply(self.asked), deadline, attempt)
            except TooSlowError as slow:
                if math.isinf(slow.projected_s):
                    self._tell(None, forecast, say, note)
                    return None
                say("The training is slower here than measured before it, so it was stopped.")
                factor = slow.projected_s / max(1e-9, forecast.steps(choice.apply(self.resolved)))
                forecast = forecast.slower(max(SLOWEST, factor))
                attempt += 1

    def _tell(
        self,
        choice: Choice | None,
        forecast: Forecast,
        say: Say,
        note: Callable[[dict[str, Any]], None],
    ) -> None:
        sentence = self.sentence(choice, forecast)
        say(sentence)
        note(self.facts(choice) | {"sentence": sentence})

    def facts(self, choice: Choice | None) -> dict[str, Any]:
        """Return what was chosen and what was planned, for report.json."""
        chosen = None
        if choice is not None:
            chosen = {"tune": choice.tune, "epochs": choice.epochs, "cv_folds": choice.cv_folds}
        planned = {
            "tune": self.resolved.tune,
            "epochs": self.resolved.train.epochs,
            "cv_folds": self.resolved.decision.cv_folds,
        }
        return {"minutes": self.minutes, "chosen": chosen, "planned": planned}

    def sentence(self, choice: Choice | None, forecast: Forecast) -> str:
        """Describe what was chosen, and what was given up."""
        begin = f"Budget of {self.minutes:g} minute{'s' * (self.minutes != 1)}:"
        full = forecast.tuning(self.resolved)
        gave_up = f"{what(self.resolved)} would take {duration_range(0.8 * full, 1.5 * full)}"
        if choice is None:
            return f"{begin} no tuning fits, so the quick model is the result ({gave_up})."
        chosen = choice.apply(self.resolved)
        said = f"{begin} {what(chosen)}, "
        said += duration_range(0.8 * choice.seconds, 1.5 * choice.seconds)
        if what(chosen) == what(self.resolved):
            return f"{said}; nothing was given up."
        return f"{said}; given up: {gave_up}."


class BegunTracker:
    """A tracker of a training that is begun again with other settings. It is not told of them: some
    services refuse to change a setting.
    """

    def __init__(self, tracker: Tracker) -> None:
        """Hand everything else to `tracker`, which its owner opens and closes."""
        self._tracker = tracker

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing."""

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Empty the history; other trackers keep the settings they have."""
        if isinstance(self._tracker, HistoryTracker):
            self._tracker.begin(settings)

    def log(self, row: Mapping[str, Any]) -> None:
        """Hand over a row of the history."""
        self._tracker.log(row)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Hand over the report."""
        self._tracker.finish(report)
