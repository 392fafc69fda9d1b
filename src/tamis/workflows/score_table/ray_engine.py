"""Scores chunks on a Ray cluster through Ray Data (`--engine ray`).

A worker or a node that is lost costs time, not rows: the pipeline is set up again on what is left
of the cluster, and the chunks without scores are computed again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from tamis.errors import RunError
from tamis.workflows.score_table.engine import Chunk, ModelFacts, ScoredChunk, ScoringJob
from tamis.workflows.score_table.ray_cluster import (
    WorkerPlan,
    connected,
    import_ray,
    plan_workers,
)
from tamis.workflows.score_table.shipped_model import ShippedModel, ship

AHEAD = 3
"""Chunks under way for each worker."""
MOST_LOSSES = 5
"""Losses one after the other, without a score between them, that end the run."""
START_S = 900
"""Longest wait for the first worker that has loaded the model, in seconds."""
SIGNAL_S = 0.2
"""Longest wait, in seconds, before Python looks for a signal."""


class RayEngine:
    """An engine of actors, one for each CPU or GPU of a cluster; see `tamis.workflows.score_table.
    engine.Engine`.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare the engine; nothing is started yet.

        Args:
            address: `HOST:PORT` of the head node of a cluster, or `auto`; None: a cluster of this
                machine, which ends with the engine.
            workers: most workers; by default one per core of this machine, or per CPU or GPU of
                an existing cluster.
            say: receives messages for the user.
        """
        self._address, self._workers, self._say = address, workers, say
        self._stack = ExitStack()
        self._model: ShippedModel | None = None
        self._run: _Running | None = None
        self._device = "auto"
        self._losses = 0

    def __enter__(self) -> Self:
        """Connect to the cluster, or start one.

        Raises:
            TamisError: see `ray_cluster.connected`.
        """
        with ExitStack() as stack:
            stack.enter_context(connected(self._address, workers=self._workers))
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all workers."""
        self._stack.__exit__(kind, error, trace)

    def start(self, job: ScoringJob) -> ModelFacts:
        """Load the model in all workers; return what the first one says.

        Raises:
            TamisError: the model cannot be loaded, or the cluster has no room for a worker.
        """
        from tamis.workflows.score_table.ray_pipeline import facts_of

        self._stop()
        plan = plan_workers(job.device, self._workers)
        self._device = job.device
        # The device is the same on all nodes, whatever each of them would choose for itself.
        device = job.device if job.device != "auto" else "cuda" if plan.gpus else "cpu"
        self._model = ship(replace(job, device=device), nodes=_nodes())
        facts = facts_of(self._first_reply())
        if job.dtype != facts.dtype:  # `auto`: not each worker chooses for itself
            self._stop()
            self._model = replace(self._model, job=replace(self._model.job, dtype=facts.dtype))
        self._say(str(plan))
        return facts

    def score(self, chunks: Iterable[Chunk]) -> Iterator[ScoredChunk]:
        """Yield the scores of all chunks, each once, in any order.

        Raises:
            TamisError: a chunk cannot be scored, or workers are lost again and again.
        """
        from tamis.workflows.score_table.ray_pipeline import scored

        source: Iterator[Chunk] | None = iter(chunks)
        waiting: dict[tuple[int, int], Chunk] = {}
        while True:
            run = self._running(waiting.values())
            while source is not None and len(waiting) < AHEAD * run.workers:
                chunk = next(source, None)
                if chunk is None:
                    source = None
                else:
                    waiting[chunk.part, chunk.place] = chunk
                    run.ask(chunk)
            if not waiting:
                return
            reply = self._reply(run)
            if reply is not None:
                found = scored(reply)
                if waiting.pop((found.part, found.place), None) is not None:
                    yield found

    def _first_reply(self) -> dict[str, Any]:
        """Return the facts as a reply."""
        while True:
            run = self._running(())
            run.ask(None)
            try:
                reply = self._reply(run, timeout_s=START_S)
            except TimeoutError:
                free = import_ray().available_resources().get("CPU", 0)
                raise RunError(
                    f"Ray: no worker has loaded the model within {START_S} s (free CPUs: "
                    f"{free:g}); see ray status for what occupies the cluster"
                ) from None
            if reply is not None:
                return reply

    def _running(self, waiting: Iterable[Chunk]) -> _Running:
        """Return the pipeline; a new one, with the chunks without scores, if it is lost."""
        if self._run is None:
            assert self._model is not None, "start was not called"
            self._run = _Running(self._model, plan_workers(self._device, self._workers))
            for chunk in waiting:
                self._run.ask(chunk)
        return self._run

    def _reply(self, run: _Running, timeout_s: float | None = None) -> dict[str, Any] | None:
        """Wait for a reply; None if the pipeline was lost.

        Raises:
            TimeoutError: there is none within `timeout_s`.
        """
        from tamis.workflows.score_table.ray_pipeline import raise_error

        try:
            reply = run.reply(timeout_s)
        except _LostError as lost:
            self._stop()
            self._losses += 1
            self._say(f"Ray: workers were lost ({lost}); going on with the rest of the cluster")
            if self._losses > MOST_LOSSES:
                raise RunError(
                    f"Ray: workers were lost {self._losses} times without a result between "
                    f"({lost}); see the memory and the logs of the nodes, then repeat the command: "
                    "finished parts are kept"
                ) from lost.__cause__
            return None
        raise_error(reply)
        self._losses = 0
        return reply

    def _stop(self) -> None:
        if self._run is not None:
            self._run.stop()
        self._run = None


class _LostError(Exception):
    """An actor or a node was lost."""


class _Running:
    """A pipeline, and the thread that waits for its replies."""

    def __init__(self, model: ShippedModel, plan: WorkerPlan) -> None:
        from tamis.workflows.score_table.ray_pipeline import Pipeline

        self.workers, self._asked = plan.count, 0
        self._pipeline = Pipeline(model, plan)
        self._arrived: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._receive, daemon=True, name="ray replies")
        self._thread.start()

    def ask(self, chunk: Chunk | None) -> None:
        """Add a request."""
        self._pipeline.ask(self._asked, chunk)
        self._asked += 1

    def reply(self, timeout_s: float | None) -> dict[str, Any]:
        """Return the next reply.

        Raises:
            _LostError: an actor or a node was lost.
            TimeoutError: there is none within `timeout_s`.
            RunError: the code of an actor failed.
        """
        waited = 0.0
        while True:
            try:
                arrived = self._arrived.get(timeout=SIGNAL_S)
                break
            except queue.Empty:
                waited += SIGNAL_S
                if timeout_s is not None and waited > timeout_s:
                    raise TimeoutError from None
        if isinstance(arrived, dict):
            return arrived
        raise _meaning(arrived) from arrived

    def stop(self) -> None:
        """End the pipeline."""
        with suppress(Exception):
            self._pipeline.close()
        self._thread.join(10)

    def _receive(self) -> None:
        try:
            for reply in self._pipeline.replies():
                self._arrived.put(reply)
            self._arrived.put(_LostError("the pipeline ended"))
        except BaseException as error:
            self._arrived.put(error)


def _meaning(error: BaseException) -> Exception:
    """Return what an exception of Ray means."""
    exceptions = import_ray().exceptions
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines)
    if "No module named" in text:
        return RunError(
            f"Ray: a node cannot load tamis ({text[text.index('No module named') :][:120]}); "
            "install tamis with the extra ray on every node"
        )
    lost = (
        exceptions.RayActorError,
        exceptions.ObjectLostError,
        exceptions.NodeDiedError,
        exceptions.WorkerCrashedError,
        exceptions.OutOfMemoryError,
    )
    # What a task raised is a RayTaskError, and of the kind of its cause as well.
    failed = isinstance(error, exceptions.RayTaskError) and not isinstance(error, lost)
    if failed or "creation task" in text:
        return RunError(f"Ray: a worker failed ({lines[-1][:300]}); see --debug")
    return _LostError(lines[0][:300] if lines else type(error).__name__)


def _nodes() -> int:
    return sum(bool(node["Alive"]) for node in import_ray().nodes())
