"""Several processes of one pretraining, as torchrun starts them: each on a device of its own, sums
over all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor, distributed


def own_device(asked: str, *, cuda: Callable[[], bool] = torch.cuda.is_available) -> str:
    """The device of this process: `auto` and `cuda` are the GPU of its number on this machine
    (LOCAL_RANK) where there are several.

    Args:
        asked: the setting `compute.device`; a device with a number, or the processor, stays as it
            is.
        cuda: whether torch sees a GPU.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (
        asked == "cuda" or (asked == "auto" and cuda())
    ):
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return asked


def join(where: str) -> bool:
    """Join the processes that torchrun started, if it did; whether this is the first of them."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        if where.startswith("cuda"):
            torch.cuda.set_device(where)  # NCCL's barrier waits on the current one
        distributed.init_process_group("nccl" if where.startswith("cuda") else "gloo")
    return not distributed.is_initialized() or distributed.get_rank() == 0


def summed(tensor: Tensor, where: torch.device) -> Tensor:
    """The sum of a tensor over all processes, on the device where it lay.

    Args:
        tensor: of any shape, the same in each process.
        where: the device that the processes compute on: NCCL adds up nothing that lies elsewhere.
    """
    moved = tensor.to(where)
    distributed.all_reduce(moved)
    return moved.to(tensor.device)
