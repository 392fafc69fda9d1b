"""What torchrun tells its processes, and what they make of it."""

from __future__ import annotations

import pytest

from tamis.compute import torchrun
from tamis.compute.device import resolve_threads
from tests import runs

NAMES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    "TORCHELASTIC_RESTART_COUNT",
)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def tell(told: pytest.MonkeyPatch, **values: int) -> None:
    for name, value in values.items():
        told.setenv(name, str(value))


def test_without_torchrun_a_process_is_alone(told: pytest.MonkeyPatch) -> None:
    assert (torchrun.rank(), torchrun.world_size(), torchrun.local_rank()) == (0, 1, 0)
    assert not torchrun.follows() and not torchrun.restarted()
    assert torchrun.thread_share(5) == 5


def test_the_threads_of_a_machine_are_divided_among_its_processes(
    told: pytest.MonkeyPatch,
) -> None:
    tell(told, WORLD_SIZE=8, LOCAL_WORLD_SIZE=3, RANK=4, LOCAL_RANK=1)
    assert [torchrun.thread_share(threads) for threads in (1, 3, 7, 12)] == [1, 1, 2, 4]
    assert torchrun.follows() and torchrun.local_rank() == 1


def test_a_number_that_is_none_counts_as_not_told(told: pytest.MonkeyPatch) -> None:
    told.setenv("WORLD_SIZE", "many")
    told.setenv("RANK", "")
    assert (torchrun.world_size(), torchrun.rank()) == (1, 0)


def test_a_second_attempt_is_told(told: pytest.MonkeyPatch) -> None:
    """Of a single process, too."""
    tell(told, TORCHELASTIC_RESTART_COUNT=0)
    assert not torchrun.restarted()
    tell(told, TORCHELASTIC_RESTART_COUNT=1, WORLD_SIZE=1)
    assert torchrun.restarted()


def test_the_single_thread_that_torchrun_sets_is_no_wish(told: pytest.MonkeyPatch) -> None:
    told.setattr("tamis.compute.device.available_processors", lambda: (6, 12))
    told.setenv("OMP_NUM_THREADS", "1")
    assert resolve_threads(None)[0] == 1
    tell(told, WORLD_SIZE=2, LOCAL_WORLD_SIZE=2)
    assert resolve_threads(None)[0] == 6
    told.setenv("OMP_NUM_THREADS", "4")
    assert resolve_threads(None)[0] == 4


def test_of_several_processes_the_first_one_speaks(told: pytest.MonkeyPatch) -> None:
    tell(told, WORLD_SIZE=2, RANK=0)
    wrong = ("train", "nowhere.csv", "--tune", "nothing")
    first = runs.tamis(*wrong)
    tell(told, RANK=1)
    other = runs.tamis(*wrong)
    assert first.code == other.code == 2 and "nothing" in first.err
    assert other.out == other.err == ""


def test_a_command_that_is_not_shared_is_done_once(told: pytest.MonkeyPatch) -> None:
    tell(told, WORLD_SIZE=2, RANK=1)
    assert runs.tamis("data", "nowhere.csv") == runs.Said(0, "", "")
    tell(told, RANK=0)
    assert runs.tamis("data", "nowhere.csv").code == 1
