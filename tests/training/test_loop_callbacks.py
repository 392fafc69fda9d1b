"""What the loop tells its callbacks, and what the ready-made ones do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tamis.evaluation.model_selection import Scores
from tamis.training.loop import LoopCallback, Training
from tamis.training.loop_callbacks import EarlyStopping, EpochCallback, ProgressCallback
from tests.tiny import training

SPLIT: dict[str, Any] = {"fit": np.arange(13), "validation": np.arange(13, 17), "batch_rows": 5}


class Telling(LoopCallback):
    """Writes down what it is told."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.said: list[str] = []
        self.fails_at = fails_at

    def on_begin(self, training: Training) -> None:
        self.said.append("begin")

    def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
        assert loss > 0 and 0 <= accuracy <= 1
        self.said.append(f"{rows} rows")
        if training.at.step == self.fails_at:
            raise KeyboardInterrupt

    def on_epoch(self, training: Training, scores: Scores | None) -> None:
        assert (scores is None) == (len(training.rows.validation) == 0)
        self.said.append(f"epoch {training.at.epoch}")

    def on_end(self, training: Training) -> None:
        self.said.append("end")


def test_a_callback_is_told_every_step_and_epoch_in_order() -> None:
    telling = Telling()
    training(epochs=2, callbacks=[telling], **SPLIT).run()
    steps = ["5 rows", "5 rows", "3 rows"]
    assert telling.said == ["begin", *steps, "epoch 1", *steps, "epoch 2", "end"]


def test_the_end_is_told_where_training_fails_too() -> None:
    telling = Telling(fails_at=2)
    with pytest.raises(KeyboardInterrupt):
        training(epochs=2, callbacks=[telling], **SPLIT).run()
    assert telling.said == ["begin", "5 rows", "5 rows", "end"]


def test_any_callback_can_stop_a_training_before_an_epoch() -> None:
    class Stopping(LoopCallback):
        def stops(self, training: Training) -> bool:
            return training.at.epoch == 2

    assert training(epochs=5, callbacks=[Stopping()], **SPLIT).run().epoch == 2


def test_patience_is_counted_in_epochs_since_the_best_and_zero_is_no_limit() -> None:
    loop = training(epochs=5, **SPLIT)
    loop.at.epoch, loop.at.best_epoch = 3, 1
    assert EarlyStopping(2).stops(loop) and not EarlyStopping(3).stops(loop)
    assert not EarlyStopping(0).stops(loop)
    assert not EarlyStopping(2).stops(training(epochs=5))  # nothing is held out


def test_the_hook_of_the_caller_gets_the_figures_and_may_end_the_training() -> None:
    seen: list[tuple[int, Scores]] = []
    hook = EpochCallback(lambda epoch, scores: seen.append((epoch, scores)))
    history = training(epochs=2, callbacks=[hook], **SPLIT).run().history
    losses = [row["validation_loss"] for row in history if "validation_loss" in row]
    assert [epoch for epoch, _ in seen] == [1, 2] and [one.loss for _, one in seen] == losses
    seen.clear()
    training(epochs=2, callbacks=[hook]).run()  # without validation rows there are no figures
    assert not seen

    def refuse(epoch: int, scores: Scores) -> None:
        raise ValueError("pruned")

    with pytest.raises(ValueError, match="pruned"):
        training(epochs=2, callbacks=[EpochCallback(refuse)], **SPLIT).run()


class Counting:
    """A progress that counts."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, int]] = []
        self.count, self.open = 0, 0

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Any:
        assert unit == "messages"
        self.tasks.append((name, total, done))
        return self

    def __enter__(self) -> Counting:
        self.open += 1
        return self

    def __exit__(self, *error: object) -> None:
        self.open -= 1

    def advance(self, amount: int = 1, note: str = "") -> None:
        assert self.open == 1 and note.startswith("loss ")
        self.count += amount


def test_progress_counts_rows_from_where_a_training_is_resumed() -> None:
    progress = Counting()
    loop = training(epochs=3, callbacks=[ProgressCallback(progress, "fold 1")], **SPLIT)
    loop.at.epoch = 1
    loop.run()
    assert progress.tasks == [("fold 1", 39, 13)] and progress.count == 26 and progress.open == 0


def test_progress_is_closed_where_training_fails() -> None:
    progress = Counting()
    with pytest.raises(KeyboardInterrupt):
        training(callbacks=[ProgressCallback(progress), Telling(fails_at=1)], **SPLIT).run()
    assert progress.open == 0
