"""Metrics of a server in Prometheus' format: requests, texts, verdicts and their shares, learning,
the queue.
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
"""Number of a model's last texts that its shares cover: enough for a share, few enough to show a
change within an hour."""
IN_DISTRIBUTION, OOD = "in_distribution", "ood"
_SECONDS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24)
_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})


class Metrics:
    """The metrics of one server. Thread-safe."""

    def __init__(self) -> None:
        """Start all metrics at zero."""
        self.registry = CollectorRegistry()
        self._requests = Total(
            "tamis_requests",
            "Requests by route, method and status",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tamis_request_seconds",
            "Seconds from the head of a request to its answer",
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
            "Refits after corrections: learned, held back, or failed",
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
            "tamis_waiting_requests", "Prediction requests that wait", registry=self.registry
        )
        self.turns = Gauge(
            "tamis_batches", "Batches computed since the start", registry=self.registry
        )
        self.batched = Gauge(
            "tamis_batched_texts", "Distinct texts in those batches", registry=self.registry
        )
        self._shares = RecentShares(
            "tamis_verdict_share",
            f"Share of each verdict among a model's last {RECENT:,} texts",
            "verdict",
        )
        self._ood = Total(
            "tamis_ood",
            "Sampled texts, by whether they are out-of-distribution",
            ["model", "kind"],
            registry=self.registry,
        )
        self._ood_shares = RecentShares(
            "tamis_ood_share",
            f"Share among the last {RECENT:,} sampled texts, by whether they are "
            "out-of-distribution",
            "kind",
        )
        self.registry.register(self._shares)
        self.registry.register(self._ood_shares)
        ProcessCollector(registry=self.registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is the route's pattern, not the requested path."""
        self._requests.labels(route, method if method in _METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def model(self, name: str, labels: Iterable[str]) -> None:
        """Register a model, so that its verdicts start at zero."""
        for verdict in (*labels, UNSURE):
            self._verdicts.labels(name, verdict)
        self._shares.announce(name, (*labels, UNSURE))

    def predicted(self, model: str, verdicts: Sequence[str]) -> None:
        """Count the verdicts of texts."""
        for verdict, count in Counter(verdicts).items():
            self._verdicts.labels(model, verdict).inc(count)
        self._shares.add(model, verdicts)

    def ood_checked(self, model: str, ood: Sequence[bool]) -> None:
        """Count sampled texts: whether each is out-of-distribution."""
        said = [OOD if far else IN_DISTRIBUTION for far in ood]
        for kind in (IN_DISTRIBUTION, OOD):
            self._ood.labels(model, kind).inc(said.count(kind))
        self._ood_shares.announce(model, (IN_DISTRIBUTION, OOD))
        self._ood_shares.add(model, said)

    def corrected(self, model: str, count: int) -> None:
        """Count stored corrections."""
        self._corrections.labels(model).inc(count)

    def learned(self, model: str, outcome: str) -> None:
        """Count a finished refit."""
        self._learnings.labels(model, outcome).inc()

    def reloaded(self, model: str, outcome: str) -> None:
        """Count a replaced model folder."""
        self._reloads.labels(model, outcome).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return bytes(generate_latest(self.registry))


class RecentShares(Collector):
    """The share of each verdict, or of another property, among a model's last texts."""

    def __init__(self, name: str, help: str, label: str) -> None:
        """Start without models; `label` names the property."""
        self._name, self._help, self._label = name, help, label
        self._recent: dict[str, deque[str]] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()

    def announce(self, model: str, verdicts: Iterable[str]) -> None:
        """Register a model and its possible values."""
        with self._lock:
            self._recent.setdefault(model, deque())
            counts = self._counts.setdefault(model, Counter())
            for verdict in verdicts:
                counts.setdefault(verdict, 0)

    def add(self, model: str, verdicts: Sequence[str]) -> None:
        """Add the values of further texts."""
        with self._lock:
            recent, counts = self._recent[model], self._counts[model]
            for verdict in verdicts[-RECENT:]:
                recent.append(verdict)
                counts[verdict] += 1
                if len(recent) > RECENT:
                    counts[recent.popleft()] -= 1

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the current shares; none for a model without texts."""
        family = GaugeMetricFamily(self._name, self._help, labels=["model", self._label])
        with self._lock:
            for model, counts in self._counts.items():
                for verdict, count in counts.items():
                    if self._recent[model]:
                        family.add_metric([model, verdict], count / len(self._recent[model]))
        yield family
