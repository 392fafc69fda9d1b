"""What a piece of work sets of torch, and that all of it is the caller's again afterwards."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.utils.deterministic

from tamis.compute.isolation import isolated, torch_threads
from tamis.compute.parallel import own_threads


def state() -> tuple[object, ...]:
    """Everything global that the work may set."""
    return (
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.get_default_dtype(),
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # type: ignore[index]
    )


def test_inside_torch_is_seeded_deterministic_and_has_the_threads() -> None:
    # The thread of the tests may have been given a number of its own, as by a server's.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_inside_torch).result()


def _inside_torch() -> None:
    with isolated("cpu", 2, seed=7):
        inside = torch.rand(3)
        assert torch.get_num_threads() == 2 and torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert torch.equal(inside, torch.rand(3, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_afterwards_everything_is_as_it_was(error: type[BaseException] | None) -> None:
    torch.manual_seed(5)
    before = state()
    try:
        with isolated("cpu", 2, seed=7):
            torch.rand(9)
            if error is not None:
                raise error
    except (KeyboardInterrupt, ValueError):
        pass
    assert state() == before


def test_a_callers_own_deterministic_mode_stays() -> None:
    torch.set_deterministic_debug_mode("warn")
    with isolated("cpu", None, seed=1):
        assert torch.get_deterministic_debug_mode() == 2
    assert torch.get_deterministic_debug_mode() == 1


def test_a_thread_with_a_number_of_its_own_keeps_it() -> None:
    found: list[int] = []

    def work() -> None:
        own_threads(1)
        with torch_threads(2):
            found.append(torch.get_num_threads())

    def without() -> None:
        with torch_threads(2):
            found.append(torch.get_num_threads())

    for target in (work, without):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    assert found == [1, 2]
