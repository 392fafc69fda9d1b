"""Dynamic batching: a worker thread computes the waiting texts of many clients in one batch, up to
a budget of tokens, without waiting for more.

Each model has a queue of requests. A batch takes windows (a text, or a part of one longer than the
context) from the front of a queue until the budget is full. An unfinished request goes to the end
of the queue, so a large request delays a small one by one batch, not by its whole size.

Several workers, each with one CPU thread, share the waiting windows: while one delivers answers,
the others compute, so the event loop slows down at most one of them. A batch that has the machine
to itself uses all CPU threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.compute.device import resolve_threads
from tamis.serving.errors import Refusal
from tamis.serving.limits import Limits
from tamis.serving.worker import Worker
from tamis.text.encoding import BATCH_TOKENS
from tamis.text.windows import RunningAggregation

if TYPE_CHECKING:
    from tamis.export.loading import Classifier

Ids = NDArray[Any]

_CHARS_A_TOKEN = 4
"""Estimate, accurate enough to fill batches and to predict waiting times; packed batches count real
tokens."""
_FULL = 0.5
"""Smallest share of the budget for which a batch's time is used to measure the speed."""
_KEPT = 0.8
"""Weight of the previous speed estimate against that of one batch."""
_LONGEST_RETRY_S = 300.0
_LEAST_TURN = 64
"""Fewest tokens that are worth dividing between workers."""


@dataclass(eq=False)
class _Job:
    """One request. Only the worker that took it may change it, except `cancelled`."""

    classifier: Classifier
    texts: list[str]
    """D distinct texts."""
    places: list[int]
    """For each text of the request, its index among the distinct ones."""
    answer: asyncio.Future[NDArray[np.float64]]
    tokens: int
    """Tokens still to be computed, partly an estimate."""
    since: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    begun: bool = False
    encoded: int = 0
    """Number of tokenized texts."""
    windows: deque[tuple[int, Ids]] = field(default_factory=deque)
    """Windows that are tokenized but not computed, each with the index of its text."""
    pooled: RunningAggregation = field(init=False)

    def __post_init__(self) -> None:
        aggregation = self.classifier.predictor_.encoder.aggregation
        self.pooled = RunningAggregation(
            len(self.texts), len(self.classifier.classes_), aggregation
        )

    @property
    def done(self) -> bool:
        return self.encoded == len(self.texts) and not self.windows

    def probabilities(self) -> NDArray[np.float64]:
        """Return the probabilities, (N, K), from the windows' logits, as `predict_proba` does."""
        return self.classifier.rule_.probabilities(self.pooled.logits())[self.places]


class Batcher(Worker):
    """Computes probabilities for requests of an event loop in worker threads.

    On closing, the threads end when all waiting requests are answered.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        budget: int = BATCH_TOKENS,
        workers: int | None = None,
        threads: int | None = None,
    ) -> None:
        """Create the batcher.

        Args:
            limits: limits of the waiting requests.
            budget: tokens of a batch.
            workers: most batches at once; default: `threads`.
            threads: threads of a batch that runs alone; default: one per physical core.
        """
        self._threads = threads or resolve_threads(None)[0]
        self._workers = workers or self._threads
        super().__init__("batcher", self._workers)
        self.limits, self.budget = limits, budget
        self.busy = 0
        self.turns = self.texts = 0
        """Batches computed so far, and their texts (a text of several windows is counted with its
        first window)."""
        self._lines: dict[int, deque[_Job]] = {}
        self._speed: float | None = None

    @property
    def alive(self) -> bool:
        """Whether the workers are running."""
        return all(thread.is_alive() for thread in self.threads)

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return sum(len(line) for line in list(self._lines.values()))

    async def probabilities(
        self, classifier: Classifier, texts: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return the result of `classifier.predict_proba`, (N, K). Cancelling it removes the
        request from the queue.

        Raises:
            Refusal: 429, too many requests are waiting, or the texts of other requests would take
                longer than the limit.
        """
        if not texts:
            return np.empty((0, len(classifier.classes_)))
        number: dict[str, int] = {}
        places = [number.setdefault(text, len(number)) for text in texts]
        answer: asyncio.Future[NDArray[np.float64]] = asyncio.get_running_loop().create_future()
        job = _Job(classifier, list(number), places, answer, sum(map(_guess, number)))
        self._admit(job)
        try:
            return await answer
        finally:
            job.cancelled = True

    def _admit(self, job: _Job) -> None:
        with self.changed:
            if self._closing or not self.alive:
                raise Refusal(503, "the server is stopping")
            ahead_s = self._ahead_s(job)
            if self.waiting >= self.limits.queue_requests or ahead_s > self.limits.wait_s:
                raise _too_busy(ahead_s)
            self._lines.setdefault(id(job.classifier), deque()).append(job)
            self.changed.notify()

    def _ahead_s(self, job: _Job) -> float:
        """Return the seconds that other requests delay a new one.

        Each of them counts at most as much as the new request itself, or one batch.
        """
        if self._speed is None:
            return 0.0
        own = max(job.tokens, self.budget)
        return (
            sum(min(other.tokens, own) for line in self._lines.values() for other in line)
            / self._speed
        )

    def _work(self) -> None:
        while turn := self._next():
            jobs, alone = turn
            jobs[0].classifier.predictor_.use_threads(self._threads if alone else 1)
            begun = time.perf_counter()
            tokens, failure = 0, None
            try:
                tokens = self._compute(jobs)
            except Exception as error:
                failure = error
            over: list[_Job] = []
            rest: list[_Job] = []
            for job in jobs:  # separate them before another worker can take the rest
                (over if failure or job.done else rest).append(job)
            with self.changed:  # before the answers are sent: a client may ask again at once
                self.busy -= 1
                if tokens >= _FULL * self.budget:
                    speed = tokens / (time.perf_counter() - begun) * (1 if alone else self._workers)
                    self._speed = (
                        speed if self._speed is None else _KEPT * self._speed + (1 - _KEPT) * speed
                    )
                for job in rest:
                    self._lines.setdefault(id(job.classifier), deque()).append(job)
                    self.changed.notify()
            self.answer(over, failure)

    def _next(self) -> tuple[list[_Job], bool] | None:
        """Wait for requests; take as many of one queue as fill a batch, or this worker's share.

        Also returns whether no other batch is running or waiting. Returns None on closing.
        """
        with self.changed:
            while True:
                late = self._drop_the_late()
                if late:
                    self.answer(late, _too_busy(self.limits.wait_s))
                if self._lines:
                    break
                if self._closing:  # what another worker puts back, that worker takes again itself
                    return None
                self.changed.wait()
            number, line = next(iter(self._lines.items()))
            del self._lines[number]
            share = sum(job.tokens for job in line) // (self._workers - self.busy)
            jobs, room = [], min(self.budget, max(share, _LEAST_TURN))
            while line and room > 0:
                job = line.popleft()
                room -= job.tokens
                jobs.append(job)
            if line:
                self._lines[number] = line  # behind the queues of the other models
                self.changed.notify()
            alone = not self.busy and not self._lines
            self.busy += 1
            return jobs, alone

    def _drop_the_late(self) -> list[_Job]:
        """Remove cancelled requests, and return those that waited too long for a batch."""
        now, late = time.monotonic(), []
        for number, line in list(self._lines.items()):
            late += [
                job
                for job in line
                if not job.begun and not job.cancelled and now - job.since > self.limits.wait_s
            ]
            kept = deque(
                job
                for job in line
                if not job.cancelled and (job.begun or now - job.since <= self.limits.wait_s)
            )
            if kept:
                self._lines[number] = kept
            else:
                del self._lines[number]
        return late

    def _compute(self, jobs: list[_Job]) -> int:
        """Compute one batch; returns its tokens."""
        classifier = jobs[0].classifier
        self._encode(classifier, jobs)
        chosen: list[tuple[_Job, int, Ids]] = []
        tokens = 0
        for job in jobs:
            while job.windows and tokens < self.budget:
                text, ids = job.windows.popleft()
                chosen.append((job, text, ids))
                tokens += len(ids)
        logits = classifier.predictor_.window_logits([ids for _, _, ids in chosen])
        with self.changed:
            self.turns += 1
            self.texts += sum(
                not job.pooled.counts[text]
                for job, text in {(job, text) for job, text, _ in chosen}
            )
        for (job, text, ids), row in zip(chosen, logits, strict=True):
            job.pooled.add(text, row)
            job.tokens -= len(ids)
        return tokens

    def _encode(self, classifier: Classifier, jobs: list[_Job]) -> None:
        """Tokenize as many texts as fit the batch, in one call."""
        room, chosen = self.budget, []
        for job in jobs:
            job.begun = True
            room -= sum(len(ids) for _, ids in job.windows)
            while room > 0 and job.encoded < len(job.texts):
                chosen.append((job, job.encoded))
                room -= _guess(job.texts[job.encoded])
                job.encoded += 1
        encoded = classifier.predictor_.tokenizer.encode([job.texts[text] for job, text in chosen])
        for (job, text), ids in zip(chosen, encoded, strict=True):
            windows = classifier.predictor_.encoder.windows(ids)
            job.windows += [(text, window) for window in windows]
            job.tokens += sum(map(len, windows)) - _guess(job.texts[text])

    def answer(self, jobs: Sequence[_Job], error: Exception | None = None) -> None:
        """Deliver results, or the error, to the waiting event loops, with one call per loop."""
        results = [(job, error or job.probabilities()) for job in jobs]
        for loop in {job.answer.get_loop() for job in jobs}:
            own = [(job.answer, result) for job, result in results if job.answer.get_loop() is loop]
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_deliver, own)


def _deliver(
    answers: list[tuple[asyncio.Future[NDArray[np.float64]], NDArray[np.float64] | Exception]],
) -> None:
    for answer, result in answers:
        if answer.done():
            continue
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)


def _guess(text: str) -> int:
    return 2 + len(text) // _CHARS_A_TOKEN


def _too_busy(wait_s: float) -> Refusal:
    return Refusal(
        429,
        "too many texts are waiting; try again later",
        retry_after_s=min(wait_s, _LONGEST_RETRY_S),
    )
