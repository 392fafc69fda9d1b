"""Batches computed side by side, a processor thread each, where all threads at once on one batch would wait for one another.

Threads that share every product meet after each of them, so that whatever else the machine does to one of them stops all; on their own
they meet never. On two cores this is worth a tenth to a fifth, more beside other work (LOG.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Batch = TypeVar("Batch")
Result = TypeVar("Result")


def computed_side_by_side(
    compute: Callable[[Batch], Result], batches: Sequence[Batch], *, device: torch.device | str = "cpu"
) -> Iterator[Result]:
    """`compute` of each batch in inference mode, in the order of the batches.

    One batch, one thread or another device: in the caller's thread. Else in as many threads as torch is set to, one torch thread in each,
    with at most two batches a thread under way or waiting to be fetched. `compute` must not change what another one reads.
    """
    threads = min(torch.get_num_threads(), len(batches))

    def work(batch: Batch) -> Result:
        with torch.inference_mode():
            return compute(batch)

    if threads < 2 or torch.device(device).type != "cpu":
        yield from map(work, batches)
        return
    before = torch.get_num_threads()
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="batch", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for batch in batches:
            if len(waiting) == 2 * threads:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, batch))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        # A thread's setting is its own, but also what threads begin with that come to torch later.
        torch.set_num_threads(before)
