"""Learning in the background: one thread refits, and runs deletions between two refits.

Deletions go first: a refit stops before its next solve to let them run, and then starts again.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from tamis.serving.model_registry import LearningOutcome, Served
from tamis.serving.worker import use_aside_threads

T = TypeVar("T")

_UNDO, _SOLVE, _END = range(3)
"""In the order of execution."""


class FeedbackWorker:
    """The learning thread. Nothing is lost if it ends: all corrections are in the store."""

    def __init__(self, learned: Callable[[Served, LearningOutcome | Exception], None]) -> None:
        """Create the thread; `learned` is called in it with the result of each refit."""
        self._learned = learned
        self._orders: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = (
            queue.PriorityQueue()
        )
        self._number = itertools.count()
        self._waiting: set[str] = set()
        self._undoings = 0
        """Number of deletions that wait."""
        self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="learner", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread after the current refit; the rest is learned at the next start."""
        with self._lock:
            self._closing = True
        self._order(_END, lambda: None)
        if self._thread.ident is not None:
            self._thread.join()

    def learn(self, served: Served) -> None:
        """Let a model learn soon; several requests before it starts cause one refit."""
        with self._lock:
            if served.name in self._waiting:
                return
            self._waiting.add(served.name)
        self._order(_SOLVE, lambda: self._solve(served))

    def between(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` while nothing is learned, so that no refit can bring back deleted data."""
        future: Future[T] = Future()

        with self._lock:
            self._undoings += 1

        def order() -> None:
            with self._lock:
                self._undoings -= 1
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

        self._order(_UNDO, order)
        return future

    def _order(self, kind: int, work: Callable[[], None]) -> None:
        self._orders.put((kind, next(self._number), work))

    def _solve(self, served: Served) -> None:
        with self._lock:
            self._waiting.discard(served.name)  # later corrections need another refit
            if self._closing:
                return
        stopped = False

        def stop() -> bool:
            nonlocal stopped
            stopped = stopped or self._undoings > 0
            return stopped

        try:
            outcome: LearningOutcome | Exception = served.learn(stop)
        except Exception as error:
            outcome = error
        if stopped:
            return self.learn(served)
        self._learned(served, outcome)

    def _work(self) -> None:
        use_aside_threads()
        kind = _SOLVE
        while kind != _END:
            kind, _, work = self._orders.get()
            work()
