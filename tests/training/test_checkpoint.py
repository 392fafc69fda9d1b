"""A training that is interrupted anywhere and taken up again ends with the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tamis.errors import CheckpointError
from tamis.evaluation.model_selection import Scores
from tamis.training.checkpoint import FILE, Checkpointer
from tamis.training.loop import LoopCallback, Training
from tamis.training.state import TrainingState
from tests.tiny import classifier, equal, training, weights_of

FIT, HELD_OUT = np.arange(13), np.arange(13, 17)


def started(**changes: Any) -> Training:
    """Everything that draws at random switched on."""
    torch.manual_seed(11)
    how: dict[str, Any] = {
        "epochs": 3,
        "batch_rows": 5,
        "dropout": 0.1,
        "token_dropout": 0.2,
        "lm_loss_weight": 0.3,
    }
    how |= {
        "undersample": True,
        "warmup_ratio": 0.3,
        "schedule": "cosine",
        "patience": 2,
        "clip_norm": 1.0,
    }
    return training(fit=FIT, validation=HELD_OUT, **(how | changes))


@pytest.fixture(scope="module")
def uninterrupted() -> Training:
    loop = started()
    loop.run()
    return loop


def same(a: Training, b: Training) -> bool:
    return (
        equal(weights_of(a.model), weights_of(b.model)) and equal(a.best, b.best) and a.at == b.at
    )


def test_a_training_resumed_from_any_step_ends_bit_for_bit_the_same(
    uninterrupted: Training, tmp_path: Path
) -> None:
    saver = Checkpointer(tmp_path, "the work")
    copies: list[Path] = []

    class Copying(LoopCallback):
        def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
            self.on_epoch(training, None)

        def on_epoch(self, training: Training, scores: Scores | None) -> None:
            saver.save(training)
            copy = tmp_path.with_name(f"{tmp_path.name}-{len(copies)}")
            copies.append(Path(shutil.copytree(tmp_path, copy)))

    watched = started(callbacks=[Copying()])
    watched.run()
    assert same(watched, uninterrupted)  # saving disturbs nothing
    assert len(copies) == uninterrupted.at.step + uninterrupted.at.epoch > 6
    for copy in copies:
        resumed = started()
        torch.manual_seed(99)
        assert Checkpointer(copy, "the work").restore(resumed)
        resumed.run()
        assert same(resumed, uninterrupted), copy.name


class KilledError(Exception):
    """Stands for a kill."""


class Killing(LoopCallback):
    """Kills after so many steps and ends of epochs."""

    def __init__(self, left: int) -> None:
        self.left = left

    def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
        self.on_epoch(training, None)

    def on_epoch(self, training: Training, scores: Scores | None) -> None:
        self.left -= 1
        if self.left == 0:
            raise KilledError


@pytest.mark.parametrize("kills", [(2,), (3, 1, 4), (1, 1, 1, 1, 1)])
def test_killed_again_and_again_in_mid_epoch_it_ends_the_same(
    kills: tuple[int, ...], uninterrupted: Training, tmp_path: Path
) -> None:
    for steps in (*kills, 10**6):
        saver = Checkpointer(tmp_path, "w", every_s=0)
        loop = started(callbacks=[saver, Killing(steps)])
        saver.restore(loop)
        try:
            loop.run()
        except KilledError:
            continue
    assert same(loop, uninterrupted)


def test_a_finished_training_is_taken_up_as_finished(
    uninterrupted: Training, tmp_path: Path
) -> None:
    first = started(callbacks=[Checkpointer(tmp_path, "w", every_s=0)])
    first.run()
    again = started()
    assert Checkpointer(tmp_path, "w").restore(again)
    again.run()
    assert same(again, uninterrupted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_resumed_training_draws_the_same_and_comes_as_near_as_the_gpu_itself(
    tmp_path: Path,
) -> None:
    def on_gpu(*callbacks: LoopCallback) -> Training:
        torch.manual_seed(11)
        how: dict[str, Any] = {"epochs": 3, "batch_rows": 5, "dropout": 0.1}
        model = classifier().cuda()
        return training(model, fit=FIT, validation=HELD_OUT, callbacks=callbacks, **how)

    saver = Checkpointer(tmp_path, "w", every_s=0)
    whole, first, resumed = on_gpu(), on_gpu(saver, Killing(5)), on_gpu()
    whole.run()
    with pytest.raises(KilledError):
        first.run()
    torch.manual_seed(99)
    assert Checkpointer(tmp_path, "w").restore(resumed)
    resumed.run()
    losses = [
        [row["loss"] for row in loop.at.history if "loss" in row] for loop in (whole, resumed)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_between_two_marks_nothing_is_written(tmp_path: Path) -> None:
    written = []

    class Counting(Checkpointer):
        def save(self, training: Training) -> None:
            written.append(training.at.step)
            super().save(training)

    loop = started(patience=0, callbacks=[Counting(tmp_path, "w", every_s=3600, epoch_s=0)])
    loop.run()
    assert written == [loop.steps_per_epoch * epoch for epoch in (1, 2, 3)]


def test_an_epoch_that_took_less_time_than_a_checkpoint_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock moves 4 seconds a step, 12 an epoch."""
    now, written = [0.0], []
    monkeypatch.setattr("tamis.training.checkpoint.time", SimpleNamespace(monotonic=lambda: now[0]))

    class Clock(LoopCallback):
        def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
            now[0] += 4

    class Counting(Checkpointer):
        def save(self, training: Training) -> None:
            written.append(training.at.epoch)
            super().save(training)

    loop = started(patience=0, epochs=5, undersample=False)
    assert loop.steps_per_epoch == 3
    loop.callbacks = [Clock(), Counting(tmp_path, "w", every_s=3600, epoch_s=20)]
    loop.run()
    assert written == [2, 4]


def test_a_checkpoint_of_other_work_is_left_alone(tmp_path: Path) -> None:
    started(callbacks=[Checkpointer(tmp_path, "this work", every_s=0)]).run()
    fresh = started()
    before = weights_of(fresh.model)
    assert not Checkpointer(tmp_path, "other work").restore(fresh)
    assert equal(weights_of(fresh.model), before) and fresh.at == TrainingState()
    assert not Checkpointer(tmp_path / "nowhere", "this work").restore(fresh)


def test_a_damaged_checkpoint_is_reported_with_the_remedy(tmp_path: Path) -> None:
    started(callbacks=[Checkpointer(tmp_path, "w", every_s=0)]).run()
    whole = (tmp_path / FILE).read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:9], b"", b"\xff" * 64):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(
            CheckpointError,
            match=r"training\.safetensors is damaged .*; delete it to train from the start",
        ):
            Checkpointer(tmp_path, "w").restore(started())


@pytest.mark.parametrize(
    "metadata",
    [None, {"identity": "w"}, {"identity": "w", "at": "{"}, {"identity": "w", "at": '{"stop": 1}'}],
)
def test_a_checkpoint_without_its_counters_is_damaged(
    metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    started(callbacks=[Checkpointer(tmp_path, "w", every_s=0)]).run()
    save_file(load_file(tmp_path / FILE), tmp_path / FILE, metadata=metadata)
    with pytest.raises(CheckpointError, match="is damaged"):
        Checkpointer(tmp_path, "w").restore(started())


@pytest.mark.parametrize("name", ["random", "now.score.weight", "optimizer.0.0.exp_avg"])
def test_a_checkpoint_without_one_of_its_tensors_is_damaged(name: str, tmp_path: Path) -> None:
    from safetensors import safe_open

    started(callbacks=[Checkpointer(tmp_path, "w", every_s=0)]).run()
    with safe_open(tmp_path / FILE, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(tmp_path / FILE)
    del tensors[name]
    save_file(tensors, tmp_path / FILE, metadata=metadata)
    loop = started()
    before = weights_of(loop.model)
    with pytest.raises(CheckpointError, match=rf"is damaged \({name} is missing\)"):
        Checkpointer(tmp_path, "w").restore(loop)
    assert equal(weights_of(loop.model), before)
