"""The speed of a backbone: measured with a few rows of the table, without an effect on anything."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from tamis.config import Recipe
from tamis.training import measured_speed as measuring
from tamis.training.measured_speed import SAMPLE_ROWS, measured_speed, sample_rows
from tamis.training.resolve import resolve_recipe
from tests.rows import messages

LABELS, TEXTS = (list(column) for column in zip(*messages(), strict=True))


def recipe(**settings: Any) -> Recipe:
    asked = {"backbone": "scratch:tiny", "compute.device": "cpu", "compute.threads": 1, **settings}
    return resolve_recipe(Recipe().changed(asked), TEXTS, LABELS).recipe


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which every piece of work takes 0.3 seconds, the first one 100."""
    ticks = itertools.accumulate(itertools.chain([0.0, 100.0], itertools.repeat(0.3)))
    monkeypatch.setattr("tamis.training.measured_speed.time.perf_counter", lambda: next(ticks))


@pytest.mark.parametrize("tune", ["full", "blocks:1", "lora:2"])
def test_steps_and_readings_are_timed_and_nothing_outside_changes(tune: str) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    found = measured_speed(recipe(tune=tune), TEXTS, LABELS)
    assert 0 < found.reading_s < 1 and 0 < found.training_s < 1
    assert 0.1 < found.tokens_per_byte < 1.5
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


def test_the_exact_head_takes_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "prepared_training", lambda *rest: pytest.fail("trained"))
    assert measured_speed(recipe(tune="head"), TEXTS, LABELS).training_s == 0


def test_the_first_piece_of_work_does_not_count(clock: None) -> None:
    def work() -> Any:
        while True:
            yield 3

    assert measuring.seconds_a_token(work(), 100.2) == pytest.approx(0.1)


def test_the_sample_has_a_row_of_every_class_and_is_the_same_again() -> None:
    labels = ["a"] * 1000 + ["b"] + [f"c{number}" for number in range(100)]
    rows = sample_rows(labels, 42)
    assert {labels[row] for row in rows.tolist()} == set(labels) and len(set(rows.tolist())) == 102
    assert np.array_equal(rows, sample_rows(labels, 42))
    assert len(sample_rows(["a", "b"] * 500, 1)) == SAMPLE_ROWS
    assert sorted(sample_rows(["a", "b", "a"], 1).tolist()) == [0, 1, 2]
