"""Processes of one pretraining: which GPU is whose, and sums that are taken where the processes
compute.
"""

from __future__ import annotations

import pytest
import torch
from torch import distributed

from tamis.training.pretraining import distributed as processes
from tamis.training.pretraining.distributed import join, own_device, summed
from tests.training.pretraining import small


@pytest.mark.parametrize(
    ("asked", "world", "local", "cuda", "device"),
    [
        ("auto", "4", "3", True, "cuda:3"),
        ("cuda", "4", "2", True, "cuda:2"),
        ("cuda", "4", None, True, "cuda:0"),
        ("cuda:1", "4", "3", True, "cuda:1"),
        ("auto", "4", "3", False, "auto"),
        ("cpu", "4", "3", True, "cpu"),
        ("cuda", "1", "0", True, "cuda"),
        ("auto", None, None, True, "auto"),
    ],
)
def test_each_process_has_the_gpu_of_its_number(
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    world: str | None,
    local: str | None,
    cuda: bool,
    device: str,
) -> None:
    for name, value in (("WORLD_SIZE", world), ("LOCAL_RANK", local)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert own_device(asked, cuda=lambda: cuda) == device


@pytest.mark.parametrize(
    ("where", "backend", "current"), [("cuda:2", "nccl", ["cuda:2"]), ("cpu", "gloo", [])]
)
def test_the_group_is_that_of_the_device(
    monkeypatch: pytest.MonkeyPatch, where: str, backend: str, current: list[str]
) -> None:
    begun: list[str] = []
    chosen: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(distributed, "init_process_group", begun.append)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert join(where)
    assert (begun, chosen) == ([backend], current)


def test_sums_are_taken_on_the_device_of_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without memory stands for the GPU: what is added up lies there, whatever lay
    elsewhere.
    """
    seen: list[torch.device] = []
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: seen.append(tensor.device))
    with pytest.raises(NotImplementedError):  # nothing comes back from it
        summed(torch.ones(3), torch.device("meta"))
    assert seen == [torch.device("meta")]
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    assert summed(torch.ones(3), torch.device("cpu")).tolist() == [2.0] * 3


def test_a_step_adds_up_its_losses_there(monkeypatch: pytest.MonkeyPatch) -> None:
    training = small.pretraining()
    training.world = 2
    wheres: list[torch.device] = []

    def noted(tensor: torch.Tensor, where: torch.device) -> torch.Tensor:
        wheres.append(where)
        return processes.summed(tensor, where)

    monkeypatch.setattr("tamis.training.pretraining.loop.summed", noted)
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: None)
    training.train_step(next(training.batches()))
    assert wheres == [training.device]
