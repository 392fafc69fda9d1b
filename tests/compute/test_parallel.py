"""Batches side by side: order, threads, errors, and how far it runs ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from tamis.compute.parallel import Threads, compute_in_parallel


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def in_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 20])
def test_results_come_in_the_order_of_the_batches(count: int) -> None:
    def slow_at_first(batch: int) -> int:
        time.sleep(0.02 / (1 + batch))
        return batch * batch

    assert list(compute_in_parallel(slow_at_first, range(count))) == [n * n for n in range(count)]


def test_each_batch_has_one_torch_thread_and_the_setting_is_as_before() -> None:
    def seen(_: int) -> tuple[int, int, bool]:
        time.sleep(0.01)
        return threading.get_ident(), torch.get_num_threads(), torch.is_inference_mode_enabled()

    found = list(compute_in_parallel(seen, range(9)))
    assert {threads for _, threads, _ in found} == {1} and len(
        {thread for thread, _, _ in found}
    ) == 3
    assert all(inference for *_, inference in found)
    assert torch.get_num_threads() == 3 and in_a_new_thread() == 3


def test_what_is_set_elsewhere_does_not_reach_the_batches() -> None:
    def seen(_: int) -> int:
        time.sleep(0.01)
        return torch.get_num_threads()

    threads = Threads(4)
    try:
        torch.set_num_threads(2)  # before any of them has computed
        assert set(threads.compute(seen, range(16))) == {1}
    finally:
        threads.close()


def test_one_batch_and_one_thread_stay_in_the_callers_thread() -> None:
    def seen(_: int) -> tuple[int, int, bool]:
        return threading.get_ident(), torch.get_num_threads(), torch.is_inference_mode_enabled()

    assert list(compute_in_parallel(seen, [0])) == [(threading.get_ident(), 3, True)]
    torch.set_num_threads(1)
    assert list(compute_in_parallel(seen, [0, 1])) == [(threading.get_ident(), 1, True)] * 2


def test_another_device_is_left_to_its_own_threads() -> None:
    found = compute_in_parallel(lambda _: threading.get_ident(), range(5), device="meta")
    assert set(found) == {threading.get_ident()}


def test_it_runs_ahead_by_two_batches_a_thread_at_most() -> None:
    begun: list[int] = []
    results = compute_in_parallel(lambda batch: begun.append(batch), range(50))
    next(results)
    time.sleep(0.05)
    assert 6 <= len(begun) <= 7
    list(results)
    assert sorted(begun) == list(range(50))


def test_an_error_comes_out_and_what_waits_is_left() -> None:
    begun: list[int] = []

    def fails(batch: int) -> int:
        begun.append(batch)
        time.sleep(0.005)
        if batch == 2:
            raise ValueError("batch 2")
        return batch

    results = compute_in_parallel(fails, range(50))
    with pytest.raises(ValueError, match="batch 2"):
        list(results)
    assert len(begun) < 12 and torch.get_num_threads() == 3 and in_a_new_thread() == 3
