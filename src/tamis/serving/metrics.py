"""What a server counts, in Prometheus' format: requests, texts, verdicts and their shares,
learning, the line.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client import Counter as Total
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tamis.decision.verdict import UNSURE

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RECENT = 1_000
"""Texts of a model that its shares are about: enough for a share, few enough to show a change
within the hour."""
IN_DISTRIBUTION, OOD = "in_distribution", "ood"
_SECONDS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24)
_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})


class Metrics:
    """The figures of one server. Safe to call from any thread."""

    def __init__(self) -> None:
        """Everything at zero."""
        self.registry = CollectorRegistry()
        self._requests = Total(
            "tamis_requests",
            "Requests by route, method and status",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tamis_request_seconds",
            "Seconds from a request's head to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._verdicts = Total(
            "tamis_verdicts", "Texts by verdict", ["model", "verdict"], registry=self.registry
        )
        self._corrections = Total(
            "tamis_corrections", "Corrections that were stored", ["model"], registry=self.registry
        )
        self._learnings = Total(
            "tamis_learnings",
            "Solves after corrections: learned, held back, or failed",
            ["model", "outcome"],
            registry=self.registry,
        )
        self._reloads = Total(
            "tamis_reloads",
            "Model folders replaced on disk: loaded, or refused",
            ["model", "outcome"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "tamis_waiting_requests", "Requests that wait to be judged", registry=self.registry
        )
        self.turns = Gauge(
            "tamis_batches", "Batches computed since the start", registry=self.registry
        )
        self.batched = Gauge(
            "tamis_batched_texts", "Distinct texts in those batches", registry=self.registry
        )
        self._shares = RecentShares(
            "tamis_verdict_share",
            f"Share of a verdict among a model's last {RECENT:,} texts",
            "verdict",
        )
        self._ood = Total(
            "tamis_ood",
            "Texts of a sample, by whether they are out-of-distribution",
            ["model", "kind"],
            registry=self.registry,
        )
        self._ood_shares = RecentShares(
            "tamis_ood_share",
            f"The same as a share of the last {RECENT:,} texts of the sample",
            "kind",
        )
        self.registry.register(self._shares)
        self.registry.register(self._ood_shares)
        ProcessCollector(registry=self.registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request has its answer. `route` is the route's pattern, not the path that was asked
        for.
        """
        self._requests.labels(route, method if method in _METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def model(self, name: str, labels: Iterable[str]) -> None:
        """Announce a model, so that its verdicts stand at zero from the start."""
        for verdict in (*labels, UNSURE):
            self._verdicts.labels(name, verdict)
        self._shares.announce(name, (*labels, UNSURE))

    def predicted(self, model: str, verdicts: Sequence[str]) -> None:
        """Texts got their verdicts."""
        for verdict, count in Counter(verdicts).items():
            self._verdicts.labels(model, verdict).inc(count)
        self._shares.add(model, verdicts)

    def ood_checked(self, model: str, ood: Sequence[bool]) -> None:
        """Texts of the sample were looked at: whether each is out-of-distribution."""
        said = [OOD if far else IN_DISTRIBUTION for far in ood]
        for kind in (IN_DISTRIBUTION, OOD):
            self._ood.labels(model, kind).inc(said.count(kind))
        self._ood_shares.announce(model, (IN_DISTRIBUTION, OOD))
        self._ood_shares.add(model, said)

    def corrected(self, model: str, count: int) -> None:
        """Corrections are in the store."""
        self._corrections.labels(model).inc(count)

    def learned(self, model: str, outcome: str) -> None:
        """A solve has ended."""
        self._learnings.labels(model, outcome).inc()

    def reloaded(self, model: str, outcome: str) -> None:
        """A folder was replaced."""
        self._reloads.labels(model, outcome).inc()

    def text(self) -> bytes:
        """Everything as Prometheus reads it."""
        return bytes(generate_latest(self.registry))


class RecentShares(Collector):
    """The share of each verdict, or of whatever is said of texts, among a model's last texts."""

    def __init__(self, name: str, help: str, label: str) -> None:
        """No model yet; `label` is what is said."""
        self._name, self._help, self._label = name, help, label
        self._recent: dict[str, deque[str]] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()

    def announce(self, model: str, verdicts: Iterable[str]) -> None:
        """A model and its possible verdicts."""
        with self._lock:
            self._recent.setdefault(model, deque())
            counts = self._counts.setdefault(model, Counter())
            for verdict in verdicts:
                counts.setdefault(verdict, 0)

    def add(self, model: str, verdicts: Sequence[str]) -> None:
        """The next texts' verdicts."""
        with self._lock:
            recent, counts = self._recent[model], self._counts[model]
            for verdict in verdicts[-RECENT:]:
                recent.append(verdict)
                counts[verdict] += 1
                if len(recent) > RECENT:
                    counts[recent.popleft()] -= 1

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The shares as they are now; none of a model that has judged nothing."""
        family = GaugeMetricFamily(self._name, self._help, labels=["model", self._label])
        with self._lock:
            for model, counts in self._counts.items():
                for verdict, count in counts.items():
                    if self._recent[model]:
                        family.add_metric([model, verdict], count / len(self._recent[model]))
        yield family
