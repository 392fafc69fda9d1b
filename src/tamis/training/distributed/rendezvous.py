"""How the processes of one attempt find each other.

torchrun's agent keeps one key-value store for all attempts (PyTorch 2.5 to 2.13), and what an
attempt leaves in it, such as the ports of its processes, is taken for that of the next one
(pytorch/pytorch#135712, #167288). So the first process gives each attempt a name of its own, and
tells it only to processes that it has seen in this attempt.
"""

from __future__ import annotations

import json
import time
import uuid
from datetime import timedelta

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

POLL_S = 0.05
"""Seconds between two looks at the store."""
PREFIX = "tamis"


def own_store(timeout: timedelta) -> tuple[Store, int, int]:
    """Return the part of torchrun's store that belongs to this attempt, the number of this process,
    and that of all processes. Waits until all are there.

    Args:
        timeout: how long to wait.

    Raises:
        RuntimeError, ValueError: the store cannot be reached, torchrun told too little, or another
            process did not come in time.
    """
    store, rank, world = next(iter(rendezvous("env://", timeout=timeout)))
    store = PrefixStore(PREFIX, store)
    deadline = time.monotonic() + timeout.total_seconds()
    name = _named(store, world, deadline) if rank == 0 else _called(store, rank, deadline)
    return PrefixStore(name, store), rank, world


def _named(store: Store, world: int, deadline: float) -> str:
    """Give the attempt a name, and tell it until all others have it."""
    name, told = uuid.uuid4().hex, None
    others = [str(rank) for rank in range(1, world)]
    while not all(store.check([f"ready/{name}/{rank}"]) for rank in others):
        seen = {
            rank: store.get(f"here/{rank}").decode()
            for rank in others
            if store.check([f"here/{rank}"])
        }
        if seen != told:  # what an earlier attempt left is replaced when that process comes
            store.set("call", json.dumps({"name": name, "seen": seen}))
            told = seen
        _pause(deadline, "the others")
    return name


def _called(store: Store, rank: int, deadline: float) -> str:
    """Show that this process is there, and wait until the first one has seen it."""
    mark = uuid.uuid4().hex
    store.set(f"here/{rank}", mark)
    while True:
        if store.check(["call"]):
            call = json.loads(store.get("call"))
            if call["seen"].get(str(rank)) == mark:
                name = str(call["name"])
                store.set(f"ready/{name}/{rank}", "")
                return name
        _pause(deadline, "the first process")


def _pause(deadline: float, missing: str) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError(f"{missing} did not come in time")
    time.sleep(POLL_S)
