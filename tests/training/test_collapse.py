"""Collapse: said in words with a remedy, at once, and not where a model merely is poor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.training.collapse import (
    LEARNED,
    SPREAD,
    CollapseCallback,
    collapse,
    has_learned,
    remedy_for,
)
from tests.tiny import TARGETS, training

CLASSES = ["ham", "spam"]


def rows(margin: np.ndarray) -> np.ndarray:
    return np.stack([-margin / 2, margin / 2], 1)


def test_a_class_that_is_never_predicted_is_named_with_its_rows_and_the_remedy() -> None:
    targets = np.array([0] * 30 + [1] * 7)
    found = collapse(rows(np.where(targets == 1, -1.0, -4.0)), targets, CLASSES, remedy="remedy: x")
    assert found == "'spam' (7 of 37 checked rows) is never predicted; remedy: x"
    assert (
        collapse(rows(np.where(np.arange(37) == 3, 1.0, -4.0)), targets, CLASSES, remedy="") is None
    )  # once is not never


def test_scores_that_hardly_differ_are_told_even_if_every_class_is_predicted() -> None:
    targets = np.array([0, 1] * 20)
    flat = 0.5 * SPREAD * np.where(targets == 1, 1.0, -1.0)
    assert "the scores are almost the same for all texts" in str(
        collapse(rows(flat), targets, CLASSES, remedy="")
    )
    assert collapse(rows(100 * flat), targets, CLASSES, remedy="") is None


def test_of_a_class_with_few_rows_nothing_is_concluded() -> None:
    targets = np.array([0] * 30 + [1] * 4)
    assert collapse(rows(np.linspace(-9, -1, 34)), targets, CLASSES, remedy="") is None
    assert collapse(np.empty((0, 2)), targets[:0], CLASSES, remedy="") is None


def test_the_remedy_names_what_is_not_done_yet() -> None:
    reference = remedy_for(tune="head", pooled=False, weighted=True, epochs=1)
    assert (
        "text.pooling=mean" in reference
        and "train.head_solver=lbfgs" in reference
        and "--class-weight" not in reference
    )
    assert (
        remedy_for(tune="full", pooled=True, weighted=True, epochs=5)
        == "try to increase train.learning_rate"
    )


def test_an_epoch_that_learned_its_rows_is_not_looked_at() -> None:
    looked: list[int] = []
    work = training(
        callbacks=[CollapseCallback(["a", "b", "c"], "", pytest.fail)],
        fit=np.arange(4),
        validation=np.arange(0),
        epochs=60,
        batch_rows=2,
    )
    logits = work.logits

    def watched(rows: np.ndarray) -> torch.Tensor:
        looked.append(work.at.epoch)
        return logits(rows)

    work.logits = watched  # type: ignore[method-assign]
    work.run()
    steps = np.array([[row["accuracy"], row["loss"]] for row in work.at.history]).reshape(60, 2, 2)
    learned = (steps[..., 0] == 1).all(1) & (steps[..., 1] < LEARNED).all(1)
    assert looked == (np.flatnonzero(~learned) + 1).tolist() and learned.any()


@pytest.mark.parametrize(
    ("steps", "learned"),
    [
        ([(1.0, 0.09), (1.0, 0.01)], True),
        ([(1.0, 0.09), (1.0, 0.11)], False),  # scores may still be level
        ([(0.9, 0.01), (1.0, 0.01)], False),  # of a class with few rows all may be wrong
    ],
)
def test_an_epoch_is_learned_if_every_step_was_right_with_a_small_loss(
    steps: list[tuple[float, float]], learned: bool
) -> None:
    work = training()
    work.at.epoch = 2
    work.at.history = [
        {"epoch": 1, "accuracy": 0.0, "loss": 9.0},
        *({"epoch": 2, "accuracy": accuracy, "loss": loss} for accuracy, loss in steps),
        {"epoch": 2, "validation_accuracy": 0.5},
    ]
    assert has_learned(work) == learned


def test_validation_rows_are_looked_at_after_every_epoch_and_scored_once() -> None:
    said: list[str] = []
    work = training(
        callbacks=[CollapseCallback(["a", "b", "c"], "remedy: x", said.append)],
        targets=np.where(np.arange(17) < 7, TARGETS, 1),
        fit=np.arange(4),
        validation=np.arange(7, 17),
        epochs=60,
        patience=0,
        learning_rate=0.0,
        head_learning_rate=0.0,
    )
    with torch.no_grad():
        work.model.transformer.ln_f.bias.fill_(1.0)
        work.model.score.weight.zero_()
        work.model.score.weight[0] += 1.0
    scored: list[int] = []
    logits = work.logits

    def counted(rows: np.ndarray) -> torch.Tensor:
        scored.append(len(rows))
        return logits(rows)

    work.logits = counted  # type: ignore[method-assign]
    work.run()
    assert scored == [10] * 60
    assert said == [
        "after epoch 1 of 60: 'b' (10 of 10 checked rows) is never predicted; remedy: x"
    ]


@pytest.mark.parametrize("held_out", [np.arange(12), np.arange(0)])
def test_it_is_said_after_the_epoch_in_which_it_is_seen_and_once(held_out: np.ndarray) -> None:
    said: list[str] = []
    targets = np.where(TARGETS == 2, 0, TARGETS)
    watcher = CollapseCallback(CLASSES, "remedy: x", said.append)
    work = training(
        callbacks=[watcher],
        targets=targets,
        weights=(1.0, 1e-9),
        validation=held_out,
        epochs=3,
        learning_rate=1e-3,
    )
    with torch.no_grad():
        work.model.transformer.ln_f.bias.fill_(1.0)
        work.model.score.weight.zero_()
        work.model.score.weight[0] += 1.0  # everything is the first class
    work.run()
    # Of the class that is never predicted five rows are trained on, but only three of the held-out
    # ones show it.
    assert said == (
        []
        if len(held_out)
        else ["after epoch 1 of 3: 'spam' (5 of 17 checked rows) is never predicted; remedy: x"]
    )
    assert bool(watcher.warned) == (len(held_out) == 0)
