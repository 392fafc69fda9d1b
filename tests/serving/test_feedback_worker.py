"""The thread that learns: once for many corrections, undoing in between, and unharmed by
failures.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, cast

import pytest

from tamis.serving.feedback_worker import FeedbackWorker
from tamis.serving.model_registry import LearningOutcome, Served
from tests.serving.served import LearningOutcome as Said


class Model:
    """Stands in for a served model: counts its solves, which wait for a gate."""

    def __init__(self, name: str, fault: Exception | None = None) -> None:
        self.name, self.fault, self.solves = name, fault, 0
        self.gate, self.begun = threading.Event(), threading.Event()
        self.stop: Callable[[], bool] = lambda: False

    def learn(self, stop: Callable[[], bool]) -> Said:
        self.solves, self.stop = self.solves + 1, stop
        self.begun.set()
        self.gate.wait(5)
        if self.fault:
            raise self.fault
        return Said(True, "learnt")

    @property
    def served(self) -> Served:
        return cast("Served", self)


@pytest.fixture
def told() -> list[tuple[str, Any]]:
    return []


@pytest.fixture
def learner(told: list[tuple[str, Any]]):
    def tell(served: Served, outcome: LearningOutcome | Exception) -> None:
        told.append((served.name, outcome))

    learner = FeedbackWorker(tell)
    learner.start()
    yield learner
    learner.close()


def order(learner: FeedbackWorker, work: Callable[[], Any] = lambda: None) -> Any:
    return learner.between(work).result(5)


def test_many_corrections_are_learnt_at_once_and_later_ones_again(
    learner: FeedbackWorker, told: list[tuple[str, Any]]
) -> None:
    first, second = Model("first"), Model("second")
    second.gate.set()
    learner.learn(first.served)
    assert first.begun.wait(5)
    for _ in range(10):  # come in while it is learning: one solve more
        learner.learn(first.served)
        learner.learn(second.served)
    first.gate.set()
    order(learner)
    assert (first.solves, second.solves) == (2, 1)
    assert [name for name, _ in told] == ["first", "first", "second"]


def test_undoing_waits_for_the_solve_under_way(learner: FeedbackWorker) -> None:
    model = Model("model")
    learner.learn(model.served)
    assert model.begun.wait(5)
    undone = learner.between(lambda: model.solves)
    assert not undone.done()
    model.gate.set()
    assert undone.result(5) == 1
    with pytest.raises(KeyError):
        order(learner, lambda: os.environ["nothing of the kind"])


def test_undoing_goes_before_what_waits_and_ends_a_long_step_early(
    learner: FeedbackWorker, told: list[tuple[str, Any]]
) -> None:
    first, second = Model("first"), Model("second")
    learner.learn(first.served)
    assert first.begun.wait(5) and not first.stop()
    learner.learn(second.served)
    undone = learner.between(lambda: (first.solves, second.solves))
    assert first.stop()  # as a step asks between two solves
    first.gate.set()
    second.gate.set()
    assert undone.result(5) == (1, 0)
    deadline = time.monotonic() + 5
    while first.solves < 2 or len(told) < 2:
        assert time.monotonic() < deadline
    assert (first.solves, second.solves) == (2, 1) and sorted(name for name, _ in told) == [
        "first",
        "second",
    ]
    assert not first.stop()


def test_a_failure_is_told_and_the_next_one_is_tried(
    learner: FeedbackWorker, told: list[tuple[str, Any]]
) -> None:
    model = Model("model", ValueError("no"))
    model.gate.set()
    for _ in range(2):
        learner.learn(model.served)
        order(learner)
    assert model.solves == 2 and [type(outcome) for _, outcome in told] == [ValueError] * 2


def test_a_stop_waits_for_one_solve_and_leaves_the_others_to_the_next_start(
    told: list[tuple[str, Any]],
) -> None:
    learner = FeedbackWorker(lambda served, outcome: told.append((served.name, outcome)))
    learner.start()
    first, second = Model("first"), Model("second")
    learner.learn(first.served)
    assert first.begun.wait(5)
    learner.learn(second.served)
    undone = learner.between(lambda: "undone")
    closing = threading.Thread(target=learner.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    first.gate.set()
    closing.join(5)
    assert not closing.is_alive() and (first.solves, second.solves) == (1, 0) and len(told) == 1
    assert undone.result(1) == "undone"  # what was accepted is done


def test_an_order_given_up_is_not_carried_out(learner: FeedbackWorker) -> None:
    model = Model("model")
    learner.learn(model.served)
    assert model.begun.wait(5)
    done: list[int] = []
    order = learner.between(lambda: done.append(1))
    assert order.cancel()
    model.gate.set()
    learner.between(lambda: None).result(5)
    assert not done
    with pytest.raises(CancelledError):
        order.result()
