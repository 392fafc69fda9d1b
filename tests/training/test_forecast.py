"""Seconds counted by hand, and what is chosen for a budget in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tamis.config import Recipe
from tamis.training.defaults import resolve_defaults
from tamis.training.forecast import (
    HEAD_ROW_S,
    LORA_SHARE,
    PLOTS_S,
    TFIDF_ROW_S,
    Choice,
    Forecast,
    Work,
    choose_within,
)
from tamis.training.measured_speed import Speed

WORK = Work(
    rows=400,
    test_rows=100,
    classes=2,
    tokens=10_000.0,
    test_tokens=2_500.0,
    copied=1.0,
    blocks=5,
    channels=32,
)
FORECAST = Forecast(WORK, Speed(0.25, reading_s=1e-4, training_s=1e-3), "full")


def resolved(**settings: Any) -> Recipe:
    asked = Recipe().changed({"tune": "full", **named(settings)})
    return resolve_defaults(asked, pretrained=True, rows=400, classes=2, small=True)


def named(settings: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in settings.items()}


def test_the_work_is_counted_in_tokens_of_rows_and_copies() -> None:
    recipe = resolved(train__augment_positives=3.0, train__augment_negatives=1.0)
    rows = (["ab" * 10, "é" * 10, "cd"], ["spam", "ham", "ham"])
    found = Work.of(recipe, rows, ["test"], positive="spam", tokens_per_byte=0.5, shape=(4, 32))
    assert (found.rows, found.test_rows, found.classes) == (3, 1, 2)
    assert (found.tokens, found.test_tokens) == (21.0, 2.0)  # 42 bytes, 4 bytes
    assert found.copied == pytest.approx((4 + 2 + 2) / 3)
    assert (found.blocks, found.channels) == (5, 32)


def test_seconds_are_those_of_the_passes() -> None:
    head = 1.0 + HEAD_ROW_S * 400  # 10,000 tokens are read in a second
    assert FORECAST.head(selection=False) == pytest.approx(head)
    assert FORECAST.head(selection=True) > head
    ood = 1.0 + 0.25
    scored = 0.25 + ood
    assert FORECAST.evaluation() == pytest.approx(scored + TFIDF_ROW_S * 500 + PLOTS_S)
    assert FORECAST.evaluation(ood=False) == pytest.approx(FORECAST.evaluation() - ood)
    plain = resolved(train__epochs=4)
    assert FORECAST.steps(plain) == pytest.approx(40.0)
    # 4 passes over a tenth, the held-out rows and the features, and the head to begin with.
    assert FORECAST.tuning(plain) == pytest.approx(40.0 + 0.4 + 2.0 + head)
    folds = resolved(train__epochs=4, decision__cv_folds=3)
    assert FORECAST.steps(folds) == pytest.approx(120.0)
    assert FORECAST.tuning(folds) == pytest.approx(120.0 + 2.0 + 4 * head)
    for tune, share in (("blocks:2", 2 / 5), ("lora:8", LORA_SHARE)):
        assert FORECAST.steps(plain.changed({"tune": tune})) == pytest.approx(40.0 * share)
    blocks = replace(FORECAST, tune="blocks:2")  # measured with two blocks
    assert blocks.steps(plain) == pytest.approx(100.0)
    assert blocks.slower(1.5).steps(plain) == pytest.approx(150.0)
    doubled = replace(FORECAST, work=replace(WORK, copied=2.0))
    assert doubled.steps(plain) == pytest.approx(80.0)
    adapted = plain.changed({"train.adapt_passes": 2})
    assert FORECAST.tuning(adapted) - FORECAST.tuning(plain) == pytest.approx(6.0)


def chosen(seconds: float, asked: Recipe, plan: Recipe) -> tuple[str, int, int] | None:
    found = choose_within(seconds, asked, plan, FORECAST)
    return None if found is None else (found.tune, found.epochs, found.cv_folds)


def test_first_the_folds_go_then_epochs_then_blocks() -> None:
    plan = resolved(train__epochs=4, decision__cv_folds=3)
    asked = Recipe().changed({"train.epochs": 4})
    seconds = {
        (tune, epochs, folds): FORECAST.tuning(
            plan.changed({"tune": tune, "train.epochs": epochs, "decision.cv_folds": folds})
        )
        for tune in ("full", "blocks:2", "blocks:1")
        for epochs in (2, 3, 4)
        for folds in (0, 3)
    }
    for choice in (
        *(("full", 4, 3), ("full", 4, 0), ("full", 3, 0), ("full", 2, 0)),
        *(("blocks:2", 4, 0), ("blocks:2", 3, 0), ("blocks:2", 2, 0)),
        ("blocks:1", 2, 0),
    ):
        assert chosen(seconds[choice], asked, plan) == choice
    assert chosen(seconds["blocks:1", 2, 0] - 0.01, asked, plan) is None


def test_what_was_asked_for_is_not_given_up() -> None:
    plan = resolved(train__epochs=4, decision__cv_folds=3)
    asked = Recipe().changed({"tune": "full", "decision.cv_folds": 3})
    short = plan.changed({"train.epochs": 1})
    assert chosen(FORECAST.tuning(short), asked, plan) == ("full", 1, 3)
    assert chosen(FORECAST.tuning(short) - 0.01, asked, plan) is None
    # Blocks are chosen on the states below them, which have to fit into memory.
    large = replace(FORECAST, work=replace(WORK, channels=10**6))
    two = plan.changed({"tune": "blocks:2", "train.epochs": 2, "decision.cv_folds": 0})
    assert choose_within(large.tuning(two), Recipe(), plan, large) is None


def test_a_choice_is_a_recipe() -> None:
    asked = Recipe().changed({"seed": 7})
    found = Choice("blocks:2", 3, 0, 10.0).apply(asked)
    assert (found.tune, found.train.epochs, found.decision.cv_folds) == ("blocks:2", 3, 0)
    assert found.seed == 7 and found.train.learning_rate is None  # a default of what is tuned


def test_the_exact_head_fits_or_does_not() -> None:
    head = resolve_defaults(
        Recipe().changed({"tune": "head"}), pretrained=True, rows=400, classes=2
    )
    seconds = FORECAST.head(selection=True)
    assert chosen(seconds, Recipe(), head) == ("head", 1, 0)
    assert chosen(seconds - 0.01, Recipe(), head) is None
