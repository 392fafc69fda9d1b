"""Batches computed side by side, a processor thread each, where all threads at once on one batch
would wait for one another.

Threads that share every product meet after each of them, so that whatever else the machine does to
one of them stops all; on their own they meet never. On two cores this is worth a tenth, and a third
beside other work (LOG.md).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Batch = TypeVar("Batch")
Result = TypeVar("Result")


def own_threads(count: int) -> None:
    """Set how many torch threads the calling thread has.

    torch sets up a thread at its first question or product, with the number last set by anybody:
    asked before, it does not later. Threads that come to torch for the first time begin with
    `count` as well.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


class Threads:
    """Threads with one torch thread each, for as long as they are wanted."""

    def __init__(self, count: int) -> None:
        """Start them."""
        self.count = count
        begun = threading.Barrier(count + 1)

        def begin() -> None:
            own_threads(1)
            begun.wait()

        before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="batch", initializer=begin)
        for _ in range(count):
            self._pool.submit(int)
        begun.wait()
        # A thread's setting is its own, but also what threads begin with that come to torch later.
        torch.set_num_threads(before)

    def close(self) -> None:
        """End them after the batches they are at."""
        self._pool.shutdown(cancel_futures=True)

    def compute(
        self, compute: Callable[[Batch], Result], batches: Iterable[Batch]
    ) -> Iterator[Result]:
        """`compute` of each batch in inference mode, in the order of the batches; it must not
        change what another one reads.

        At most two batches a thread are under way or wait to be fetched.
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
    """`compute` of each batch in inference mode, in the order of the batches; it must not change
    what another one reads.

    One batch, one thread or another device: in the caller's thread. Else in as many threads as
    torch is set to.
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
