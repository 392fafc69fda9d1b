"""Computes batches in parallel, one thread per batch, instead of one batch with all threads.

Threads that share a product synchronize after it, so other programs that delay one thread delay
all. Threads with a batch each never wait for each other. On two cores this saves a tenth of the
time, and a third beside other programs (docs/log).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Batch = TypeVar("Batch")
Result = TypeVar("Result")

_own = threading.local()


def own_threads(count: int) -> None:
    """Set the number of torch threads of the calling thread.

    torch fixes a thread's number at its first query or product, to the number that was last set by
    any thread; a later change by another thread has no effect on it. Threads that use torch for the
    first time later also start with `count`.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)
    _own.count = count


def own_thread_count() -> int | None:
    """The number that the calling thread was given by `own_threads`; None where it was given
    none.
    """
    return getattr(_own, "count", None)


class Threads:
    """A pool of threads with one torch thread each, or as many as given."""

    def __init__(self, count: int, each: int = 1) -> None:
        """Start the threads, each of which computes with `each` torch threads."""
        self.count = count
        begun = threading.Barrier(count + 1)

        def begin() -> None:
            own_threads(each)
            begun.wait()

        before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="batch", initializer=begin)
        for _ in range(count):
            self._pool.submit(int)
        begun.wait()
        # The setting belongs to this thread, but threads that use torch later also start with it.
        torch.set_num_threads(before)

    def close(self) -> None:
        """Stop the threads after their current batches."""
        self._pool.shutdown(cancel_futures=True)

    def map(self, call: Callable[[Batch], Result], items: Iterable[Batch]) -> list[Result]:
        """Return `call` of each item, in their order, when all are done; gradients are possible.

        A thread that is done takes the next item.
        """
        futures = [self._pool.submit(call, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]

    def compute(
        self, compute: Callable[[Batch], Result], batches: Iterable[Batch]
    ) -> Iterator[Result]:
        """Yield `compute` of each batch in inference mode, in the order of the batches.

        `compute` must not change what another call reads. At most two batches per thread are
        computed or wait to be consumed.
        """

        def work(batch: Batch) -> Result:
            with torch.inference_mode():
                return compute(batch)

        waiting: deque[Future[Result]] = deque()
        for batch in batches:
            if len(waiting) == 2 * self.count:
                yield waiting.popleft().result()
            waiting.append(self._pool.submit(work, batch))
        while waiting:
            yield waiting.popleft().result()


def compute_in_parallel(
    compute: Callable[[Batch], Result],
    batches: Sequence[Batch],
    *,
    device: torch.device | str = "cpu",
) -> Iterator[Result]:
    """Yield `compute` of each batch in inference mode, in the order of the batches.

    `compute` must not change what another call reads. Runs in the caller's thread for one batch,
    one thread or another device; otherwise in as many threads as torch is set to.
    """
    count = min(torch.get_num_threads(), len(batches))
    if count < 2 or torch.device(device).type != "cpu":
        for batch in batches:
            with torch.inference_mode():
                result = compute(batch)
            yield result
        return
    threads = Threads(count)
    try:
        yield from threads.compute(compute, batches)
    finally:
        threads.close()
