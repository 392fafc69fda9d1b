"""Threads, deterministic algorithms and random states of torch set for one piece of work, and put
back behind it: a library call changes nothing global for its caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic

from tamis.compute.parallel import own_thread_count


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Compute with so many of torch's threads (None: as many as there are); the calling thread has
    its number back afterwards. A thread that was given a number of its own keeps it
    (`tamis.compute.parallel.own_threads`).
    """
    count = own_thread_count() or count
    before = torch.get_num_threads()
    changed = count is not None and count != before
    if changed and count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if changed:
            torch.set_num_threads(before)


@contextmanager
def isolated(device: str, threads: int | None, *, seed: int) -> Iterator[None]:
    """Compute with torch seeded and, on the processor, with its deterministic algorithms alone.

    Afterwards torch's random states, thread count and deterministic mode are the caller's again.
    Python's and NumPy's global generators are not touched: no code of this package draws from them.

    Args:
        device: `cpu`, `cuda`, `cuda:N` or `mps`. On a GPU deterministic algorithms stay as they
            are: there they forbid operations outright, and equal bytes are promised for the
            processor alone.
        threads: processor threads; None: as many as there are.
        seed: of torch's generators.
    """
    mode = torch.get_deterministic_debug_mode()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    devices = [torch.device(device)] if device.startswith("cuda") else []
    numbers = [torch.cuda.current_device() if d.index is None else d.index for d in devices]
    with torch_threads(threads), torch.random.fork_rng(numbers):
        torch.manual_seed(seed)
        try:
            if device == "cpu":
                # Filling every empty tensor with NaN costs a pass over memory and hides nothing
                # here: no code reads one.
                torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
                # use_deterministic_algorithms imports the compiler: seconds
                torch.set_deterministic_debug_mode("error")
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
