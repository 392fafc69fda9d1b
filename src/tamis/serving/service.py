"""The state that the routes share: models, batcher, learning thread, metrics, threads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tamis.serving import json_logs
from tamis.serving.api_keys import Keys
from tamis.serving.drift_monitor import Drift
from tamis.serving.dynamic_batching import Batcher
from tamis.serving.errors import Refusal
from tamis.serving.feedback_worker import FeedbackWorker
from tamis.serving.limits import Limits
from tamis.serving.metrics import Metrics
from tamis.serving.model_registry import LearningOutcome, Models, Served
from tamis.serving.request_body import Bodies
from tamis.serving.worker import use_aside_threads

T = TypeVar("T")


class Service:
    """The components of one server."""

    def __init__(self, models: Models, limits: Limits, keys: Keys, *, log_texts: bool) -> None:
        """Create the components; no thread runs before `start`."""
        self.models, self.limits, self.keys, self.log_texts = models, limits, keys, log_texts
        self.metrics = Metrics()
        self.bodies = Bodies(limits)
        threads = [served.loaded.classifier.predictor_.threads for served in models]
        self.batcher = Batcher(limits, threads=max(threads, default=None))
        self.learner = FeedbackWorker(self._learned)
        self.drift = Drift(self.metrics.ood_checked)
        self.stopping = False
        self.show_texts = True
        """Whether answers may contain stored texts."""
        self.explanations = 0
        """Explanation requests in progress."""
        self._store = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._explainer = ThreadPoolExecutor(1, "explainer", use_aside_threads)
        for served in models:
            self.metrics.model(served.name, served.labels)

    def start(self) -> None:
        """Start the threads."""
        self.batcher.start()
        self.learner.start()
        self.drift.start()

    def close(self) -> None:
        """Stop the threads after all accepted requests are answered."""
        self.stopping = True
        self.models.close()
        self.drift.close()
        self._explainer.shutdown(cancel_futures=True)
        self.batcher.close()
        self._store.shutdown()
        self.learner.close()

    async def in_store(self, work: Callable[[], T]) -> T:
        """Run `work` with the store of corrections, in a thread, one call at a time.

        Raises:
            Refusal: 507, the store cannot be read or written.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._store, work)
        except sqlite3.Error as error:
            raise _not_stored(error) from None

    async def explaining(self, work: Callable[[], T]) -> T:
        """Run an explanation in a thread, beside the batches."""
        return await asyncio.get_running_loop().run_in_executor(self._explainer, work)

    async def undoing(self, work: Callable[[], T]) -> T:
        """Delete corrections while nothing is learned.

        Raises:
            Refusal: 507, the store cannot be written.
        """
        try:
            return await asyncio.wrap_future(self.learner.between(work))
        except sqlite3.Error as error:
            raise _not_stored(error) from None

    def _learned(self, served: Served, outcome: LearningOutcome | Exception) -> None:
        if isinstance(outcome, Exception):
            self.metrics.learned(served.name, "failed")
            json_logs.event("learn", level=40, model=served.name, **json_logs.failure(outcome))
            return
        self.metrics.learned(served.name, "learned" if outcome.learned else "held back")
        json_logs.event("learn", model=served.name, learned=outcome.learned)


def _not_stored(error: sqlite3.Error) -> Refusal:
    json_logs.event("store", level=40, **json_logs.failure(error))
    return Refusal(507, "the store of corrections cannot be read or written; nothing was changed")
