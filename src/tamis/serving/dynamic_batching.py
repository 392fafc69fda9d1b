"""Texts of many clients in one batch: a worker thread takes what waits, up to a budget of tokens,
and never waits for more.

Requests stand in a line for each model. A turn takes windows (a text, or a part of one longer than
the context) from the front of a line until the budget is full; who is not done goes to the end, so
a large request delays a small one by a turn, not by its size.

Several workers share what waits between them, a processor thread each: while one's answers are
delivered the others compute, and what the event loop does stops one of them at most. A turn that
has the machine to itself takes all processor threads.
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
import torch
from numpy.typing import NDArray

from tamis.compute.parallel import own_threads
from tamis.decision.calibration import softmax
from tamis.gpt2.features import FROZEN_TOKENS
from tamis.gpt2.packing import pack
from tamis.serving.errors import Refusal
from tamis.serving.limits import Limits
from tamis.serving.worker import Worker
from tamis.text.windows import RunningAggregation

if TYPE_CHECKING:
    from tamis.classifier.text_classifier import TextClassifier

Ids = NDArray[Any]

_CHARS_A_TOKEN = 4
"""A guess, good enough to fill turns and to foresee waiting; what is packed is counted in real
tokens."""
_FULL = 0.5
"""Share of the budget from which on a turn says how fast this machine is."""
_KEPT = 0.8
"""Weight of the speed so far against that of one turn."""
_LONGEST_RETRY_S = 300.0
_LEAST_TURN = 64
"""Tokens that are not worth dividing between workers."""


@dataclass(eq=False)
class _Job:
    """One request. Whoever has taken it out of its line alone touches it, but for `cancelled`."""

    classifier: TextClassifier
    texts: list[str]
    """D distinct texts."""
    places: list[int]
    """For each text of the request, its number among the distinct ones."""
    answer: asyncio.Future[NDArray[np.float64]]
    tokens: int
    """Tokens still to be computed, in part a guess."""
    since: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    begun: bool = False
    encoded: int = 0
    """Texts that are tokenized."""
    windows: deque[tuple[int, Ids]] = field(default_factory=deque)
    """Tokenized and not computed, each with the number of its text."""
    pooled: RunningAggregation = field(init=False)

    def __post_init__(self) -> None:
        self.pooled = RunningAggregation(
            len(self.texts), len(self.classifier.classes_), self.classifier.aggregation
        )

    @property
    def done(self) -> bool:
        return self.encoded == len(self.texts) and not self.windows

    def probabilities(self) -> NDArray[np.float64]:
        """(N, K), computed as `predict_proba` does from the windows' logits."""
        return softmax(self.pooled.logits())[self.places]


class Batcher(Worker):
    """Probabilities for requests that come in on an event loop, computed in threads that end when
    what stands in line is answered.
    """

    def __init__(
        self, limits: Limits, *, budget: int = FROZEN_TOKENS, workers: int | None = None
    ) -> None:
        """`budget`: tokens of one turn; `workers`: threads [default: as many as torch has]."""
        self._torch_threads = torch.get_num_threads()
        self._workers = workers or self._torch_threads
        super().__init__("batcher", self._workers)
        self.limits, self.budget = limits, budget
        self.busy = 0
        self.turns = self.texts = 0
        """Batches computed so far, and texts in them (a text of several windows counts with its
        first)."""
        self._lines: dict[int, deque[_Job]] = {}
        self._speed: float | None = None

    @property
    def alive(self) -> bool:
        """Whether anything can be computed."""
        return all(thread.is_alive() for thread in self.threads)

    @property
    def waiting(self) -> int:
        """Requests in line."""
        return sum(len(line) for line in list(self._lines.values()))

    async def probabilities(
        self, classifier: TextClassifier, texts: Sequence[str]
    ) -> NDArray[np.float64]:
        """(N, K) as `classifier.predict_proba` gives them. Being cancelled takes the request out of
        the line.

        Raises:
            Refusal: 429, where too many stand in line or others' texts would take longer than the
                limit.
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
        """Seconds that others' texts take before a new request is done: of each no more than this
        one needs itself, or a turn's worth.
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
            own_threads(self._torch_threads if alone else 1)
            begun = time.perf_counter()
            tokens, failure = 0, None
            try:
                tokens = self._compute(jobs)
            except Exception as error:
                failure = error
            over: list[_Job] = []
            rest: list[_Job] = []
            for job in jobs:  # told apart before another worker may go on with the rest
                (over if failure or job.done else rest).append(job)
            with (
                self.changed
            ):  # before the answers go out: who asks again at once finds the machine free
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
        """Wait for requests; take as many of one model's line as fill a turn, or as are this
        worker's share of it.

        Beside them whether nothing else is under way or waits. None when it is time to end.
        """
        with self.changed:
            while True:
                late = self._drop_the_late()
                if late:
                    self.answer(late, _too_busy(self.limits.wait_s))
                if self._lines:
                    break
                if self._closing:  # what another worker puts back, it takes up again itself
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
                self._lines[number] = line  # behind the other models' lines
                self.changed.notify()
            alone = not self.busy and not self._lines
            self.busy += 1
            return jobs, alone

    def _drop_the_late(self) -> list[_Job]:
        """Take out whoever went away, and return whoever has waited too long for the first turn."""
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
        """One batch; returns its tokens."""
        classifier = jobs[0].classifier
        self._encode(classifier, jobs)
        chosen: list[tuple[_Job, int, Ids]] = []
        tokens = 0
        for job in jobs:
            while job.windows and tokens < self.budget:
                text, ids = job.windows.popleft()
                chosen.append((job, text, ids))
                tokens += len(ids)
        model = classifier.scorer()
        with torch.inference_mode():
            packed = pack([ids for _, _, ids in chosen]).to(model.score.weight.device)
            logits = model(packed).cpu().double().numpy()
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

    def _encode(self, classifier: TextClassifier, jobs: list[_Job]) -> None:
        """Tokenize as many texts as the turn can take, all in one call."""
        room, chosen = self.budget, []
        for job in jobs:
            job.begun = True
            room -= sum(len(ids) for _, ids in job.windows)
            while room > 0 and job.encoded < len(job.texts):
                chosen.append((job, job.encoded))
                room -= _guess(job.texts[job.encoded])
                job.encoded += 1
        encoded = classifier.tokenizer_.encode([job.texts[text] for job, text in chosen])
        for (job, text), ids in zip(chosen, encoded, strict=True):
            windows = classifier.windows(ids)
            job.windows += [(text, window) for window in windows]
            job.tokens += sum(map(len, windows)) - _guess(job.texts[text])

    def answer(self, jobs: Sequence[_Job], error: Exception | None = None) -> None:
        """Hand results, or the error, to the event loops of those who ask; one call a loop wakes it
        once.
        """
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
