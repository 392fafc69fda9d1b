"""Durations in words, what is measured, the limit of a budget, and the seconds of an interrupted
run.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tamis.config import Recipe
from tamis.progress import Silent
from tamis.training.measured_speed import Speed
from tamis.training.resolve import resolve_recipe
from tamis.workflows import time_plan
from tamis.workflows.dataset import load_dataset
from tamis.workflows.deadline import Deadline, TooSlowError, WatchedProgress
from tamis.workflows.environment import Clock
from tamis.workflows.run_progress import RunProgress
from tamis.workflows.time_plan import duration_range, plan_sentence, plan_time, what
from tests import runs


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1, 9.9, "less than 10 seconds"),
        (3, 12, "5 to 15 seconds"),
        (41, 83, "40 to 85 seconds"),
        (75, 130, "1 to 2.5 minutes"),
        (20, 110, "0.5 to 2 minutes"),
        (700, 1300, "11 to 22 minutes"),
        (5000, 9000, "1 to 2.5 hours"),
    ],
)
def test_durations_are_ranges_that_a_person_would_say(low: float, high: float, words: str) -> None:
    assert duration_range(low, high) == words


def test_a_limit_is_said_where_nothing_was_measured(tmp_path: Path) -> None:
    found, _ = plan("hello", 8, tmp_path)
    assert found.words(1, 2) == "less than 10 seconds"
    assert found.words(1, 20) == "less than 40 seconds"
    assert found.words(1, 100) == "less than 3 minutes"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tune": "head"}, "the exact head"),
        ({"tune": "head", "train.head_solver": "adamw"}, "the head (1 epoch)"),
        ({"tune": "full", "train.epochs": 4}, "the whole model (4 epochs)"),
        ({"tune": "blocks:1", "train.epochs": 2}, "the last block (2 epochs)"),
        ({"tune": "blocks:2", "train.epochs": 1}, "the last 2 blocks (1 epoch)"),
        ({"tune": "lora:8", "train.epochs": 2}, "adapters of rank 8 (LoRA) (2 epochs)"),
        (
            {"tune": "full", "train.epochs": 2, "decision.cv_folds": 3},
            "the whole model (2 epochs, once for each of 3 cross-validation folds and once for "
            "all rows)",
        ),
    ],
)
def test_what_is_trained_is_said_in_words(settings: dict[str, Any], words: str) -> None:
    assert what(Recipe().changed(settings)) == words


def plan(text: str, rows: int, tmp_path: Path, **named: Any) -> Any:
    table = [(("ham", "spam")[n % 2], f"{text} {n}") for n in range(rows)]
    data = runs.write_table(tmp_path / "data.tsv", table)
    recipe = Recipe().changed({"backbone": "nano", "compute.threads": 1, "compute.device": "cpu"})
    dataset = load_dataset(str(data), recipe)
    parts = dataset.split
    settled = resolve_recipe(recipe, parts.texts("train"), parts.labels("train"))
    return plan_time(settled, dataset, **named), settled.recipe


def test_a_small_table_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_plan, "measured_speed", lambda *rest: pytest.fail("measured"))
    found, recipe = plan("hello", 8, tmp_path)
    assert found.measured_s is None
    said = plan_sentence(found, recipe, quick=True)
    assert "seconds; then" in said and "less than" in said and "estimated" not in said
    # A budget for which the count is too coarse needs the measurement.
    measured = Speed(tokens_per_byte=0.25, reading_s=1e-4, training_s=1e-3)
    monkeypatch.setattr(time_plan, "measured_speed", lambda *rest: measured)
    assert plan("hello " * 30, 90, tmp_path, budget_s=10.0)[0].measured_s is not None


def test_a_longer_training_is_measured_and_said_as_a_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed = Speed(tokens_per_byte=0.25, reading_s=1e-4, training_s=1e-3)
    monkeypatch.setattr(time_plan, "measured_speed", lambda *rest: speed)
    found, recipe = plan("hello " * 30, 1000, tmp_path)
    work = found.forecast.work
    # The rows are near-repeats of each other, so all of them train.
    assert work.rows == 1000
    assert work.tokens == sum(181 + len(str(n)) for n in range(1000)) / 4
    seconds = found.forecast.tuning(recipe) + found.forecast.evaluation()
    said = plan_sentence(found, recipe, quick=True)
    assert duration_range(0.7 * seconds, 1.6 * seconds) + " more (estimated from" in said
    assert "--quick stops after" in said and "--minutes limits the whole" in said
    assert "within 5 minutes in all" in plan_sentence(found, recipe, quick=True, minutes=5)
    assert plan_sentence(found, recipe, quick=False).startswith("Plan: the whole model (4 epochs)")


def test_a_deadline_stops_what_cannot_end_in_time_and_nothing_else() -> None:
    now = [0.0]
    deadline = Deadline(100.0, trainings=2, clock=lambda: now[0])
    deadline("reading", 10, 10)
    for second in range(1, 60):  # 2 x 300 rows, 7 in a second: it ends at 87
        now[0] = float(second)
        deadline("training, fold 1 of 2", 7, 300)
    slow = Deadline(100.0, trainings=2, clock=lambda: now[0])
    now[0] = 0.0
    with pytest.raises(TooSlowError) as error:
        for second in range(60):
            now[0] = float(second)
            slow("training", 5, 300)
    # Judged at 5 % and 5 seconds at the earliest: 30 of 600 rows after 6 seconds.
    assert now[0] == 6.0 and error.value.projected_s == pytest.approx(120.0)
    now[0] = 101.0
    with pytest.raises(TooSlowError) as error:
        Deadline(100.0, trainings=1, clock=lambda: now[0])("reading", 1, 10)
    assert math.isinf(error.value.projected_s)


def test_watched_work_is_shown_and_told() -> None:
    shown, told = [], []

    class Shown(Silent):
        def advance(self, amount: int = 1, note: str = "") -> None:
            shown.append((amount, note))

    progress = WatchedProgress(Shown(), lambda *one: told.append(one))
    with progress.task("training", total=7, unit="messages") as task:
        task.advance(3, "loss")
    assert shown == [(3, "loss")] and told == [("training", 3, 7)]


def test_seconds_and_reasons_of_an_interrupted_run_are_handed_on(tmp_path: Path) -> None:
    recipe = Recipe().changed({"backbone": "scratch:tiny", "compute.threads": 1})
    first = RunProgress(tmp_path, Clock({"data": 1.0}))
    settled = resolve_recipe(recipe, ["a", "b"], ["ham", "spam"])
    first.resolved(settled, {"threads": "default"})
    first.budget = {"minutes": 5}
    with first.clock.phase("train"):
        first.save()
    kept = json.loads((tmp_path / "progress.json").read_text(encoding="utf-8"))
    assert kept["seconds"]["train"] > 0  # of the phase that goes on
    second = RunProgress(tmp_path, Clock({"data": 2.0}))
    again = resolve_recipe(recipe.changed({"tune": "full"}), ["a", "b"], ["ham", "spam"])
    second.resolved(again, {"threads": "requested"})
    assert second.tune_reason == settled.tune_reason != again.tune_reason
    assert second.reasons == {"threads": "default"} and second.budget == {"minutes": 5}
    assert second.clock.seconds["data"] == 3.0
    assert second.clock.seconds["train"] == kept["seconds"]["train"]
    (tmp_path / "progress.json").write_text("{", encoding="utf-8")
    assert RunProgress(tmp_path, Clock()).tune_reason is None
