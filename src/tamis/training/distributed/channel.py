"""Messages, weights and sums between the processes of a training.

Messages and short reports go over gloo on the CPU, where a process may wait for another one for as
long as it takes: the first one evaluates while the others wait. Weights and gradients are sent from
where they lie: over NCCL on GPUs, else over gloo. What is sent is JSON and safetensors, no pickle.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import numpy as safe_arrays
from torch import Tensor, distributed

from tamis.errors import DistributedError
from tamis.training.distributed.rendezvous import own_store

WAIT = timedelta(days=365)
"""For the next message of the first process, which may do something long on its own."""
TOGETHER = timedelta(minutes=30)
"""For the others in the middle of a step."""
REPORT_BYTES = 4096
"""Size of what a process reports at the end of a piece of work; an error is cut to fit."""
ERROR_CHARACTERS = 600
BUCKET = 1 << 18
"""Numbers; tensors with fewer travel together."""

Arrays = Mapping[str, NDArray[Any]]


class Channel:
    """The connection of this process to the others."""

    def __init__(self) -> None:
        """Join the others; waits until all are there.

        Raises:
            DistributedError: they cannot be reached.
        """
        with _explained():
            store, self.rank, self.world = own_store(TOGETHER)
            distributed.init_process_group(
                "gloo", store=store, rank=self.rank, world_size=self.world, timeout=WAIT
            )
            self._data = distributed.new_group(backend="gloo", timeout=TOGETHER)
        self._gpus: distributed.ProcessGroup | None = None
        self.whole = True
        """whether every piece of work that was begun together was ended together"""

    def announce(self, header: Mapping[str, Any], arrays: Arrays | None = None) -> None:
        """Send a message from the first process to all others, which `listen`."""
        text = json.dumps(header).encode()
        content = text + (safe_arrays.save(dict(arrays)) if arrays else b"")
        with _explained():
            distributed.broadcast(torch.tensor([len(text), len(content)]), 0)
            distributed.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0)

    def listen(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Wait for a message of the first process; return its header and its arrays."""
        sizes = torch.zeros(2, dtype=torch.int64)
        with _explained():
            distributed.broadcast(sizes, 0)
            text, length = sizes.tolist()
            content = torch.empty(length, dtype=torch.uint8)
            distributed.broadcast(content, 0)
        raw = content.numpy().tobytes()
        return json.loads(raw[:text]), safe_arrays.load(raw[text:]) if length > text else {}

    def report(self, value: Any = None, error: BaseException | None = None) -> list[Any]:
        """Tell all processes how a piece of work ended, and return what each of them says.

        Args:
            value: a small value as JSON has it.
            error: what ended the work of this process; it is raised again.

        Raises:
            DistributedError: the work of another process failed; with its message.
        """
        problem = None
        if error is not None:
            what = str(error) or type(error).__name__
            problem = f"on {socket.gethostname()}: {what}"[:ERROR_CHARACTERS]
        own = json.dumps([problem, value]).encode()
        buffer = torch.zeros(REPORT_BYTES, dtype=torch.uint8)
        buffer[: len(own)] = torch.frombuffer(bytearray(own), dtype=torch.uint8)
        found = [torch.empty_like(buffer) for _ in range(self.world)]
        try:
            with _explained():
                distributed.all_gather(found, buffer, group=self._data)
        except DistributedError:
            if error is None:
                raise
            raise error from None
        reports = [json.loads(one.numpy().tobytes().rstrip(b"\0")) for one in found]
        failed = [number for number, (said, _) in enumerate(reports) if said is not None]
        if failed:
            self.whole = True  # all know that this piece of work is over
            if error is not None:
                raise error
            raise DistributedError(
                f"process {failed[0]} of {self.world} failed {reports[failed[0]][0]}"
            )
        return [value for _, value in reports]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A piece of work that all processes begin and end. Where it is left by an error that the
        others do not know of, they still wait for this process.
        """
        self.whole = False
        yield
        self.whole = True

    def use(self, device: torch.device) -> None:
        """Connect the devices of all processes; every process calls it with its own."""
        if device.type == "cuda":
            torch.cuda.set_device(device)
            if self._gpus is None and distributed.is_nccl_available():
                with _explained():
                    self._gpus = distributed.new_group(backend="nccl", timeout=TOGETHER)

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        for bucket in buckets(tensors):
            with self._moving(bucket, back=self.rank > 0) as (moving, group), _explained():
                # Bytes: not every backend knows every type of number.
                distributed.broadcast(moving.view(-1).view(torch.uint8), 0, group=group)

    def gather_sums(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors of the first process with their sums over all processes; those of the
        others lose their values. The order of the summands is fixed by their number.
        """
        for bucket in buckets(tensors):
            with self._moving(bucket, back=self.rank == 0) as (moving, group), _explained():
                distributed.reduce(moving, 0, group=group)

    def sum_up(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors of all processes with their sums; equal bits everywhere."""
        for bucket in buckets(tensors):
            with self._moving(bucket, back=True) as (moving, group), _explained():
                distributed.all_reduce(moving, group=group)

    @contextmanager
    def _moving(
        self, bucket: Sequence[Tensor], *, back: bool
    ) -> Iterator[tuple[Tensor, distributed.ProcessGroup]]:
        """One tensor that a backend can move, and the group of that backend. Its content is put
        `back` into the bucket afterwards, where it is a copy.
        """
        first = bucket[0]
        on_gpu = first.device.type == "cuda" and self._gpus is not None
        direct = on_gpu or first.device.type == "cpu"
        group = self._gpus if on_gpu and self._gpus is not None else self._data
        if len(bucket) == 1 and direct and first.is_contiguous():
            yield first, group
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        flat = flat if direct else flat.cpu()
        yield flat, group
        if back:
            sizes = [tensor.numel() for tensor in bucket]
            for tensor, part in zip(bucket, torch.split_with_sizes(flat, sizes), strict=True):
                tensor.copy_(part.view_as(tensor))

    def close(self) -> None:
        """Leave the others. With work under way on GPUs, which would be waited for, the end of the
        process does it.
        """
        if (self.whole or self._gpus is None) and distributed.is_initialized():
            distributed.destroy_process_group()


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors, detached, in groups: a large one alone, small ones of one type together."""
    small: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        tensor = tensor.detach()
        if tensor.numel() >= BUCKET:
            yield [tensor]
            continue
        waiting = small.setdefault(tensor.dtype, [])
        waiting.append(tensor)
        if sum(one.numel() for one in waiting) >= BUCKET:
            yield small.pop(tensor.dtype)
    yield from small.values()


def balanced(tokens: NDArray[np.int64], world: int) -> list[NDArray[np.int64]]:
    """Divide rows among processes so that each has about as many tokens.

    Args:
        tokens: (R,) tokens of each row.
        world: number of processes; some get no row where there are fewer rows.

    Returns:
        The numbers of each process's rows, in ascending order.
    """
    shares: list[list[int]] = [[] for _ in range(world)]
    loads = np.zeros(world, dtype=np.int64)
    for row in np.argsort(-tokens, kind="stable").tolist():
        least = int(loads.argmin())
        shares[least].append(row)
        loads[least] += tokens[row]
    return [np.array(sorted(share), dtype=np.int64) for share in shares]


@contextmanager
def _explained() -> Iterator[None]:
    """Turn errors of the connection into DistributedError."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise DistributedError(
            "another process of this training ended or cannot be reached "
            f"({str(error).splitlines()[0][:200]}); to go on from the last checkpoint, repeat the "
            "same command"
        ) from error
