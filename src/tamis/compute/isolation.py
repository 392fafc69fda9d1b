"""Set threads, deterministic algorithms and random states of torch for one computation, and restore
them afterwards. A library call has no global side effects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic

from tamis.compute.parallel import own_thread_count


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Compute with this number of torch threads (None: unchanged), and restore the number of the
    calling thread afterwards.

    A thread with its own number keeps it (`tamis.compute.parallel.own_threads`).
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
    """Compute with seeded random generators of torch and, on the CPU, with deterministic
    algorithms.

    Afterwards random states, thread count and deterministic mode of torch are restored. The global
    generators of Python and NumPy are not used by this package.

    Args:
        device: `cpu`, `cuda`, `cuda:N` or `mps`. On a GPU, deterministic algorithms stay as they
            are: there some operations have none, and equal bytes are promised for the CPU only.
        threads: CPU threads; None: unchanged.
        seed: seed of torch's generators.
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
