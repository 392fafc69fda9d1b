"""Scores chunks in processes of this machine, each with the model and a few threads."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from tamis.errors import ConfigError, RunError, told_error
from tamis.workflows.score_table.engine import Chunk, ModelFacts, ScoredChunk, ScoringJob
from tamis.workflows.score_table.process_plan import Trial, Workers, candidates
from tamis.workflows.score_table.worker import work

AHEAD = 1
"""Chunks that wait in a process besides those that its threads compute."""
MOST_LOSSES = 3
"""A chunk whose process dies this often is not tried again."""


class _Process:
    """A worker process and the chunks that it has."""

    def __init__(self, job: ScoringJob, threads: int, *, tell: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=work, args=(theirs, job, threads, tell), daemon=True, name="tamis-score"
        )
        self.process.start()
        theirs.close()  # so that the end of the process is seen here
        self.threads = threads
        self.ready = self.retired = False
        self.has: dict[tuple[int, int], Chunk] = {}

    def wants(self) -> bool:
        return self.ready and not self.retired and len(self.has) < self.threads + AHEAD

    def use_threads(self, count: int) -> None:
        if count != self.threads:
            self.threads = count
            with suppress(OSError):
                self.connection.send(count)

    def give(self, chunk: Chunk) -> None:
        self.has[chunk.part, chunk.place] = chunk
        with suppress(OSError):  # a dead process is noticed where its messages are awaited
            self.connection.send(chunk)

    def stop(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


class LocalEngine:
    """Processes on this machine; see `engine.Engine`."""

    def __init__(
        self,
        processes: int | None = None,
        threads: int | None = None,
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Start nothing yet.

        Args:
            processes: their number; None: measured on the first texts.
            threads: CPU threads of all processes together; None: one per physical core.
            say: receives what was chosen.

        Raises:
            ConfigError: there are fewer than one process.
        """
        if processes is not None and processes < 1:
            raise ConfigError(f"processes: expected at least 1, got {processes}")
        self._asked, self._say = (processes, threads), say
        self._processes: list[_Process] = []
        self._job: ScoringJob | None = None
        self._trial = Trial([Workers(1, 1)])
        self._losses: dict[tuple[int, int], int] = {}
        self._waiting: list[Chunk] = []
        """chunks of processes that were lost or stopped"""

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes, also while they compute."""
        for process in self._processes:
            process.stop()
        self._processes.clear()

    def start(self, job: ScoringJob) -> ModelFacts:
        """See `Engine`. The first process loads the model."""
        self._job = job
        plan = candidates(*self._asked, device="cpu", resident_mb=None)[0]
        first = _Process(job, plan.threads, tell=True)
        self._processes = [first]
        if self._asked[0] is not None:
            self._arrange(plan)  # all at once: nothing is measured first
        facts, memory = self._await_ready(first)
        assert facts is not None
        plans = candidates(*self._asked, device=facts.device, resident_mb=memory)
        self._trial = Trial(plans)
        return facts

    def score(self, chunks: Iterable[Chunk]) -> Iterator[ScoredChunk]:
        """See `Engine`."""
        self._arrange(self._trial.now)
        rest = iter(chunks)
        while True:
            ended = not self._give(rest)
            if ended and not self._waiting and not any(each.has for each in self._processes):
                return
            for scored, chunk in self._messages():
                yield scored
                self._measure(chunk)

    def _give(self, rest: Iterator[Chunk]) -> bool:
        """Give chunks to the processes that want one; return whether more may follow."""
        while (process := self._idle()) is not None:
            chunk = self._waiting.pop() if self._waiting else next(rest, None)
            if chunk is None:
                return False
            process.give(chunk)
        return True

    def _measure(self, chunk: Chunk) -> None:
        """Count a scored chunk for the choice of the numbers of processes and threads."""
        ready = all(process.ready for process in self._processes)
        if ready and self._trial.finished(sum(map(len, chunk.texts))):
            self._arrange(self._trial.now)
            if self._trial.ended():
                speeds = self._trial.speeds
                best = speeds[self._trial.now]
                shown = ", ".join(f"{plan}: {each / best:.2f}" for plan, each in speeds.items())
                self._say(f"{self._trial.now}, measured on the first texts (speed of {shown})")

    def _idle(self) -> _Process | None:
        """Return the process that wants a chunk most."""
        wanting = [process for process in self._processes if process.wants()]
        return min(wanting, key=lambda process: len(process.has) / process.threads, default=None)

    def _messages(self) -> Iterator[tuple[ScoredChunk, Chunk]]:
        """Wait for messages and yield the scores among them."""
        by_connection: dict[Any, _Process] = {each.connection: each for each in self._processes}
        for connection in wait(list(by_connection)):
            process = by_connection[connection]
            if process not in self._processes:
                continue  # it was stopped by what an earlier message led to
            message = _receive(process.connection)
            if message is None:
                self._lose(process)
                continue
            kind, value = message
            if kind == "failed":
                raise _error(*value)
            if kind == "ready":
                process.ready = True
                continue
            chunk = process.has.pop((value.part, value.place))
            if process.retired and not process.has:
                self._stop(process)
            yield value, chunk

    def _await_ready(self, process: _Process) -> tuple[ModelFacts | None, float | None]:
        message = _receive(process.connection)
        if message is None:
            raise _ended(process)
        kind, value = message
        if kind == "failed":
            raise _error(*value)
        process.ready = True
        facts, memory = value
        return facts, memory

    def _arrange(self, plan: Workers) -> None:
        """Make the processes as a plan says. What a process has already it computes first."""
        staying = [each for each in self._processes if not each.retired]
        for process in staying[: plan.processes]:
            process.use_threads(plan.threads)
        for process in staying[plan.processes :]:
            process.retired = True
            if not process.has:
                self._stop(process)
        self._start(plan.processes - len(staying), plan.threads)

    def _start(self, count: int, threads: int) -> None:
        if count > 0 and self._job is None:
            raise RunError("the engine is asked before it is started")
        for _ in range(count):
            assert self._job is not None
            self._processes.append(_Process(self._job, threads, tell=False))

    def _stop(self, process: _Process) -> None:
        self._processes.remove(process)
        self._waiting += process.has.values()
        process.stop()

    def _lose(self, process: _Process) -> None:
        """Start a process in the place of one that ended by itself.

        Raises:
            RunError: it had a chunk that ended others before, or did not even load the model.
        """
        lost = _ended(process)
        for key in list(process.has) or [(-1, -1)]:
            self._losses[key] = self._losses.get(key, 0) + 1
            if self._losses[key] == MOST_LOSSES:
                raise lost
        self._say(f"{lost}; it is started again")
        self._stop(process)
        if not process.retired:
            self._start(1, process.threads)


def _receive(connection: Connection) -> tuple[str, Any] | None:
    """Return the next message; None if the process has ended."""
    try:
        found: tuple[str, Any] = connection.recv()
    except (EOFError, OSError):
        return None
    return found


def _error(name: str, message: str) -> Exception:
    """Return the error that a worker told; a worker gives no name to an error of the program."""
    if not name:
        return RuntimeError(f"a scoring process failed:\n{message}")
    return told_error(name, message)


def _ended(process: _Process) -> RunError:
    process.process.join(timeout=5)
    code = process.process.exitcode
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    hint = (
        ", which often means that the memory was full; try fewer --processes" if code == -9 else ""
    )
    return RunError(f"a scoring process ended unexpectedly ({how}{hint})")
