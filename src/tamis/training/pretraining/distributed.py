"""Distributed pretraining with torchrun: one device per process, and sums over all processes."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor, distributed


def own_device(asked: str, *, cuda: Callable[[], bool] = torch.cuda.is_available) -> str:
    """Return the device of this process.

    `auto` and `cuda` give the GPU with the process's LOCAL_RANK, if there are several processes.

    Args:
        asked: the setting `compute.device`; a device with a number, or the CPU, is returned
            unchanged.
        cuda: returns whether torch sees a GPU.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (
        asked == "cuda" or (asked == "auto" and cuda())
    ):
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return asked


def join(where: str) -> bool:
    """Join the process group if torchrun started this process; returns whether this is the first
    process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        if where.startswith("cuda"):
            torch.cuda.set_device(where)  # NCCL's barrier waits on the current device
        distributed.init_process_group("nccl" if where.startswith("cuda") else "gloo")
    return not distributed.is_initialized() or distributed.get_rank() == 0


def summed(tensor: Tensor, where: torch.device) -> Tensor:
    """Return the sum of a tensor over all processes, on the tensor's device.

    Args:
        tensor: same shape in each process.
        where: the device that the processes compute on; NCCL only sums tensors there.
    """
    moved = tensor.to(where)
    distributed.all_reduce(moved)
    return moved.to(tensor.device)
