"""Learning behind the answers: one thread solves anew after corrections came in, however many, and
undoes between two solves.

Undoing goes first: a step breaks off before its next solution for it, and begins again behind it.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from tamis.compute.parallel import own_threads
from tamis.serving.model_registry import LearningOutcome, Served
from tamis.serving.worker import ASIDE_THREADS

T = TypeVar("T")

_UNDO, _SOLVE, _END = range(3)
"""In the order in which they are carried out."""


class FeedbackWorker:
    """The thread. Nothing is lost with it: what waits to be learnt stands in the store."""

    def __init__(self, learned: Callable[[Served, LearningOutcome | Exception], None]) -> None:
        """`learned` is told, in the thread, how each solve went."""
        self._learned = learned
        self._orders: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = (
            queue.PriorityQueue()
        )
        self._number = itertools.count()
        self._waiting: set[str] = set()
        self._undoings = 0
        """How many are waited for."""
        self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="learner", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread after the solve it is at; what waits is learnt at the next start."""
        with self._lock:
            self._closing = True
        self._order(_END, lambda: None)
        if self._thread.ident is not None:
            self._thread.join()

    def learn(self, served: Served) -> None:
        """Have a model learn soon; asked for again before it has begun, it learns once."""
        with self._lock:
            if served.name in self._waiting:
                return
            self._waiting.add(served.name)
        self._order(_SOLVE, lambda: self._solve(served))

    def between(self, work: Callable[[], T]) -> Future[T]:
        """Do something while nothing is being learnt, so that a solve under way cannot bring back
        what is undone.
        """
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
            self._waiting.discard(served.name)  # a correction from here on needs another solve
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
        own_threads(ASIDE_THREADS)
        kind = _SOLVE
        while kind != _END:
            kind, _, work = self._orders.get()
            work()
