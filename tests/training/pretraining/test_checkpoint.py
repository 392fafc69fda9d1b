"""A pretraining that is killed goes on to the same bytes; one that is to run longer goes on from
where it was stable.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tamis.errors import CheckpointError, RunError
from tamis.training.pretraining.checkpoint import LATEST, STABLE, StateFiles
from tamis.training.pretraining.loop import Pretraining
from tests.training.pretraining import small


class Killed(Exception):
    """Stands for kill -9: nothing after it runs."""


def run(
    folder: Path, *, kill_at: int | None = None, every_s: float = 0.0, **changes: object
) -> Pretraining:
    training = small.pretraining(folder / "vectors", changes)
    states = StateFiles(folder / "work", "same", every_s=every_s)
    states.restore(training)

    def each_step(at: Pretraining) -> None:
        states.after_step(at)
        if kill_at is not None and at.at.step == kill_at:
            raise Killed

    if kill_at is None:
        training.run(each_step=each_step)
    else:
        with pytest.raises(Killed):
            training.run(each_step=each_step)
    return training


@pytest.mark.parametrize("kill_at", [1, 7, 13])
def test_a_killed_one_ends_with_the_same_bytes_and_history(tmp_path: Path, kill_at: int) -> None:
    whole = run(tmp_path / "whole")
    assert whole.at.step > 13 and whole.at.number >= 1
    run(tmp_path / "killed", kill_at=kill_at)
    resumed = run(tmp_path / "killed")
    assert resumed.at == whole.at
    for name, tensor in small.weights(whole).items():
        assert torch.equal(tensor, small.weights(resumed)[name]), name
    kept = [
        load_file(tmp_path / folder / "work" / LATEST) for folder in ("whole", "killed")
    ]  # moments of the optimisers too
    assert kept[0].keys() == kept[1].keys() and all(
        torch.equal(kept[0][name], kept[1][name]) for name in kept[0]
    )


def test_a_longer_schedule_goes_on_from_the_stable_state_to_the_bytes_of_one_long_run(
    tmp_path: Path,
) -> None:
    run(tmp_path / "a")  # 900 tokens, its learning rate falls after 540
    longer = run(tmp_path / "a", **{"schedule.tokens": 1500})
    whole = run(tmp_path / "b", **{"schedule.tokens": 1500})
    assert longer.at == whole.at
    for name, tensor in small.weights(whole).items():
        assert torch.equal(tensor, small.weights(longer)[name]), name


def test_a_longer_schedule_uses_the_latest_state_while_the_learning_rate_is_still_stable(
    tmp_path: Path,
) -> None:
    run(tmp_path, kill_at=5)
    training = small.pretraining(tmp_path / "vectors", {"schedule.tokens": 1500})
    assert StateFiles(tmp_path / "work", "same").restore(training) and training.at.step == 5


def test_a_finished_one_stays_as_it_is(tmp_path: Path) -> None:
    whole = run(tmp_path)
    again = run(tmp_path)
    assert again.at == whole.at and torch.equal(
        again.student.trunk.wte.weight, whole.student.trunk.wte.weight
    )


def test_the_stable_state_has_had_no_step_at_a_fallen_rate(tmp_path: Path) -> None:
    run(tmp_path)
    training = small.pretraining(tmp_path / "vectors")
    (tmp_path / "work" / LATEST).unlink()
    assert StateFiles(tmp_path / "work", "same").restore(training)
    assert 540 <= training.at.tokens < 540 + 60
    assert (tmp_path / "work" / STABLE).is_file()


def test_a_state_of_other_work_is_refused_and_kept(tmp_path: Path) -> None:
    run(tmp_path)
    training = small.pretraining(tmp_path / "vectors")
    before, kept = small.weights(training), (tmp_path / "work" / LATEST).read_bytes()
    with pytest.raises(RunError, match="another pretraining"):
        StateFiles(tmp_path / "work", "other").restore(training)
    assert all(
        torch.equal(before[name], tensor) for name, tensor in small.weights(training).items()
    )
    assert (tmp_path / "work" / LATEST).read_bytes() == kept


@pytest.mark.parametrize("shorter", [400, 800])
def test_a_shorter_schedule_is_refused_and_says_what_would_go_on(
    tmp_path: Path, shorter: int
) -> None:
    run(tmp_path)
    training = small.pretraining(tmp_path / "vectors", {"schedule.tokens": shorter})
    before = small.weights(training)
    with pytest.raises(
        RunError,
        match=r"of 900, with a learning rate that decays after 540; .* a larger schedule\.tokens",
    ):
        StateFiles(tmp_path / "work", "same").restore(training)
    assert all(
        torch.equal(before[name], tensor) for name, tensor in small.weights(training).items()
    )


def test_without_a_fall_the_last_state_is_a_stable_one(tmp_path: Path) -> None:
    finished = run(tmp_path / "a", **{"schedule.decay_share": 0})
    longer = run(tmp_path / "a", **{"schedule.tokens": 1500})
    assert (
        finished.at.tokens > 900
        and longer.at == run(tmp_path / "b", **{"schedule.tokens": 1500}).at
    )


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_damaged_state_is_told(tmp_path: Path, damage: str) -> None:
    run(tmp_path)
    path = tmp_path / "work" / LATEST
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"\xff" * len(data))
    with pytest.raises(CheckpointError, match="is damaged"):
        StateFiles(tmp_path / "work", "same").restore(small.pretraining(tmp_path / "vectors"))
