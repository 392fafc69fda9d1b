"""A Ray Data pipeline that stays open: requests are added while it runs, and each goes to one of a
pool of actors, which hold the model.

    driver → feed (an actor of the driver's node) → read task → actor pool → driver

A row is a request or its reply. The feed keeps a request until its reply has arrived. A read task
that Ray runs again reads the same requests at the same places.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from tamis import __version__
from tamis.errors import RunError, TamisError, told_error
from tamis.workflows.score_table.chunk_scorer import ChunkScorer
from tamis.workflows.score_table.engine import Chunk, ModelFacts, ScoredChunk
from tamis.workflows.score_table.ray_cluster import WorkerPlan, import_ray
from tamis.workflows.score_table.shipped_model import ShippedModel

TASKS_PER_WORKER = 2
"""Requests that wait at an actor, including the one that it computes."""
CLOSE_S = 10
"""Longest wait for the list of actors at the end, in seconds."""
ANSWERED = -1
"""Number of a row in the place of a request that has its reply already."""


class Feed:
    """The requests without a reply; an actor."""

    def __init__(self) -> None:
        """Create an empty feed."""
        self._requests: dict[int, Any] = {}
        self._workers: list[Any] = []
        self._added = 0
        self._changed = asyncio.Condition()

    async def add(self, request: Any) -> None:
        """Add a request (a table of one row); its number is the next one, from 0."""
        async with self._changed:
            self._requests[self._added] = request
            self._added += 1
            self._changed.notify_all()

    async def get(self, number: int) -> Any:
        """Return a request as soon as it is added; None if its reply has arrived."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._added > number)
            return self._requests.get(number)

    async def join(self, worker: Any) -> None:
        """Note an actor of the pool."""
        self._workers.append(worker)

    async def workers(self) -> list[Any]:
        """Return the actors of the pool, lost ones included."""
        return self._workers

    async def drop(self, number: int) -> None:
        """Forget a request: its reply has arrived."""
        self._requests.pop(number, None)


class Scorer:
    """A loaded model; an actor of the pool.

    A `TamisError` is a reply: Ray would take an exception of the constructor for a lost actor, and
    start another one.
    """

    def __init__(self, model: ShippedModel, version: str, feed: Any = None) -> None:
        """Load the model; `version` is that of tamis on the driver's node. `feed` is told."""
        self._error: str | None = None
        os.environ["RAYON_NUM_THREADS"] = "1"  # else the tokenizer takes all cores of the node
        if feed is not None:
            feed.join.remote(import_ray().get_runtime_context().current_actor)
        try:
            if __version__ != version:
                node = import_ray().util.get_node_ip_address()
                raise RunError(
                    f"Ray: node {node} has tamis {__version__}, this machine has {version}; "
                    "install the same version on every node"
                )
            with model.unpacked() as job:
                self._scorer = ChunkScorer(job)
                # Of some number types, the files are read again for the fingerprint.
                self._facts = json.dumps(asdict(self._scorer.facts()))
        except TamisError as error:
            self._error = _as_json(error)

    def __call__(self, requests: Any) -> Any:
        """Return a table of replies to a table of requests."""
        return _table([self._reply(row) for row in requests.to_pylist()], _replies())

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        texts = request.pop("texts")
        if request["number"] == ANSWERED:
            return request
        if self._error is not None:
            return {**request, "error": self._error}
        if texts is None:
            return {**request, "facts": self._facts}
        try:
            found = self._scorer.score(Chunk(request["part"], request["place"], tuple(texts)))
        except TamisError as error:
            return {**request, "error": _as_json(error)}
        probabilities = np.ascontiguousarray(found.probabilities, np.float64).tobytes()
        answers = {"labels": list(found.labels), "verdicts": list(found.verdicts)}
        return {**request, **answers, "probabilities": probabilities}


class Pipeline:
    """A running pipeline."""

    def __init__(self, model: ShippedModel, plan: WorkerPlan) -> None:
        """Start the actors; they load the model while the first requests are added."""
        ray = self._ray = import_ray()
        node = ray.get_runtime_context().get_node_id()
        pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        remote = ray.remote(Feed).options(num_cpus=0, scheduling_strategy=pinned)
        self._feed = remote.remote()
        with ray.data.DataContext.current(_context()):
            replies = ray.data.read_datasource(
                _source(self._feed),
                num_cpus=0,  # the pool has all CPUs, and this task does not end
                label_selector={"ray.io/node-id": node},
                override_num_blocks=1,
            ).map_batches(
                Scorer,
                fn_constructor_args=(model, __version__, self._feed),
                compute=ray.data.ActorPoolStrategy(
                    size=plan.count, max_tasks_in_flight_per_actor=TASKS_PER_WORKER
                ),
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=1,
                num_gpus=1 if plan.gpus else 0,
                # A lost actor is an error here. With restarts its requests would wait for room
                # that may never be there again (ray-project/ray#62746).
                max_restarts=0,
                max_task_retries=0,
            )
            self._batches = iter(
                replies.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
            )

    def ask(self, number: int, chunk: Chunk | None) -> None:
        """Add a request, of the numbers 0, 1, 2, ...: a chunk, or None for the facts."""
        row: dict[str, Any] = {"number": number, "part": -1, "place": -1, "texts": None}
        if chunk is not None:
            row |= {"part": chunk.part, "place": chunk.place, "texts": list(chunk.texts)}
        self._feed.add.remote(_table([row], _requests()))

    def replies(self) -> Iterator[dict[str, Any]]:
        """Yield the replies as they come, in any order; does not end by itself.

        Raises:
            ray.exceptions.RayError: an actor or a node was lost, or its code failed.
        """
        for batch in self._batches:
            for reply in batch.to_pylist():
                if reply["number"] != ANSWERED:
                    self._feed.drop.remote(reply["number"])
                    yield reply

    def close(self) -> None:
        """End the actors and the feed, and thereby the pipeline. Of a pipeline that failed, Ray
        Data keeps the actors that are left, and with them the room of the next pipeline.
        """
        try:
            for worker in self._ray.get(self._feed.workers.remote(), timeout=CLOSE_S):
                self._ray.kill(worker)
        finally:
            self._ray.kill(self._feed)


def scored(reply: dict[str, Any]) -> ScoredChunk:
    """Return the scores in a reply."""
    labels, verdicts = tuple(reply["labels"]), tuple(reply["verdicts"])
    probabilities = np.frombuffer(reply["probabilities"], np.float64).reshape(len(labels), -1)
    return ScoredChunk(reply["part"], reply["place"], labels, verdicts, probabilities)


def facts_of(reply: dict[str, Any]) -> ModelFacts:
    """Return the facts in a reply."""
    found: dict[str, Any] = json.loads(reply["facts"])
    return ModelFacts(**{**found, **{name: tuple(found[name]) for name in ("labels", "notes")}})


def raise_error(reply: dict[str, Any]) -> None:
    """Raise the error in a reply, if there is one."""
    if reply["error"] is None:
        return
    name, message = json.loads(reply["error"])
    raise told_error(name, message)


def _as_json(error: TamisError) -> str:
    return json.dumps([type(error).__name__, str(error)])


def _context() -> Any:
    """Return settings of Ray Data: every row is a block and leaves at once; nothing is shown."""
    context = import_ray().data.DataContext.get_current().copy()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return context


def _source(feed: Any) -> Any:
    """Return the requests of a feed as a data set without end: one block of one row each."""
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    def read() -> Iterator[Any]:
        import ray

        number = 0
        while True:
            request = ray.get(feed.get.remote(number))
            yield _table([{"number": ANSWERED}], _requests()) if request is None else request
            number += 1

    class FeedSource(Datasource):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]

        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(
            self, parallelism: int, per_task_row_limit: Any = None, data_context: Any = None
        ) -> list[Any]:
            return [ReadTask(read, BlockMetadata(None, None, None, None))]

    return FeedSource()


def _table(rows: list[dict[str, Any]], schema: Any) -> Any:
    import pyarrow

    return pyarrow.Table.from_pylist(rows, schema=schema)


@cache
def _requests() -> Any:
    """Return the schema of a request."""
    import pyarrow as pa

    texts = ("texts", pa.list_(pa.large_string()))
    return pa.schema([(name, pa.int64()) for name in ("number", "part", "place")] + [texts])


@cache
def _replies() -> Any:
    """Return the schema of a reply. Probabilities (N, K) are the bytes of float64; `facts` and
    `error` are JSON.
    """
    import pyarrow as pa

    fields = [(name, pa.int64()) for name in ("number", "part", "place")]
    fields += [(name, pa.list_(pa.large_string())) for name in ("labels", "verdicts")]
    fields += [("probabilities", pa.large_binary()), ("facts", pa.string())]
    return pa.schema([*fields, ("error", pa.string())])
