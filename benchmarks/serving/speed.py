"""Speed of a server: one request at a time, and 32 clients compared with bulk prediction beside the
same client load.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.client import Load
from benchmarks.serving.process import Request, Server, ask, asking, serving
from benchmarks.serving.results import Figure, percentile
from tamis.classifier.text_classifier import TextClassifier
from tamis.workflows.busy_neighbour import busy_cores, busy_neighbour

CLIENTS = 32
_WARM_REQUESTS = 50


def predictions(texts: Sequence[str]) -> list[Request]:
    """Return one request per text."""
    return [("POST", "/v1/predict", {"texts": [text]}) for text in texts]


def latency(run: Path, texts: Sequence[str], *, requests: int, threads: int | None) -> list[Figure]:
    """Measure one client that sends one text per request, the next after each answer."""
    with serving(run, threads=threads) as server:
        ask(server, predictions(texts), clients=1, count=min(_WARM_REQUESTS, requests))
        before = server.processor_s()
        load = _all_answered(ask(server, predictions(texts), clients=1, count=requests))
        processor_s = server.processor_s() - before
    details = {
        "mean_ms": statistics.fmean(load.ms),
        "longest_ms": max(load.ms),
        "server_processor_ms": 1000 * processor_s / requests,
        "client_processor_ms": 1000 * load.processor_s / requests,
    }
    return [
        Figure(name, percentile(load.ms, share), {"requests": requests}, details)
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]


@dataclass(frozen=True)
class Speeds:
    """Tokens per second, one number per round."""

    served: list[float]
    unbatched: list[float]
    """the same code, one text per batch; empty if there is no such server"""
    bulk: list[float]
    """`predict_proba` beside a client that uses as much CPU"""
    alone: list[float]
    """`predict_proba` alone on the machine"""
    client: list[float]
    """share of one core that the client used"""

    def details(self) -> dict[str, object]:
        """Return the medians, which are stored with a share."""
        named = {
            "tokens_per_s": self.served,
            "unbatched": self.unbatched,
            "bulk": self.bulk,
            "bulk_alone": self.alone,
        }
        return {
            name: statistics.median(values)
            for name, values in {**named, "client_share": self.client}.items()
            if values
        }

    def share(self, rival: Sequence[float]) -> float:
        """Return the median over rounds of the served speed divided by the rival's.

        Other load on the machine affects both sides of a round.
        """
        return statistics.median(
            mine / other for mine, other in zip(self.served, rival, strict=True)
        )


def speed(
    run: Path, texts: Sequence[str], *, seconds: float, rounds: int, threads: int | None
) -> list[Figure]:
    """Measure 32 clients, compared with bulk prediction and with a server without batching."""
    found = _speeds(run, texts, seconds=seconds, rounds=rounds, threads=threads, unbatched=True)
    scale = {"clients": CLIENTS, "rounds": rounds, "seconds a round": seconds}
    return [
        Figure("share_of_bulk", found.share(found.bulk), scale, found.details()),
        Figure("over_unbatched", found.share(found.unbatched), scale, found.details()),
    ]


def trunk(
    run: Path, texts: Sequence[str], *, seconds: float, rounds: int, threads: int | None
) -> list[Figure]:
    """Measure the same clients on a larger model, whose trunk takes nearly all the time."""
    found = _speeds(run, texts, seconds=seconds, rounds=rounds, threads=threads, unbatched=False)
    size = json.loads((run / "config.json").read_text(encoding="utf-8"))
    scale = {
        "layers": size["n_layer"],
        "channels": size["n_embd"],
        "clients": CLIENTS,
        "rounds": rounds,
        "seconds a round": seconds,
    }
    return [Figure("trunk_share", found.share(found.bulk), scale, found.details())]


def neighbour(
    run: Path, texts: Sequence[str], *, seconds: float, rounds: int, threads: int | None
) -> list[Figure]:
    """Measure the same clients with and without another process that keeps one core busy, in
    turn; and the latency of one client beside it.
    """
    requests, found = predictions(texts), dict[str, list[float]](idle=[], beside=[])
    single: list[float] = []
    before = busy_cores()
    with serving(run, threads=threads) as server:
        ask(server, requests, clients=CLIENTS, seconds=min(1.0, seconds))
        for _ in range(rounds):
            for name, load in (("idle", contextlib.nullcontext()), ("beside", busy_neighbour())):
                with load:
                    done = _loaded(server, requests, seconds)
                    found[name].append(done.answers / done.seconds)
                    if name == "beside":
                        one = ask(server, requests, clients=1, seconds=seconds / 2)
                        single += _all_answered(one).ms
    share = statistics.median(
        beside / idle for idle, beside in zip(found["idle"], found["beside"], strict=True)
    )
    details = {
        "idle_per_s": statistics.median(found["idle"]),
        "beside_per_s": statistics.median(found["beside"]),
        "single_p50_ms": percentile(single, 0.5),
        "single_p99_ms": percentile(single, 0.99),
        "busy_cores_before": before,
    }
    scale = {"clients": CLIENTS, "rounds": rounds, "seconds a round": seconds}
    return [Figure("beside_neighbour", share, scale, details)]


def _speeds(
    run: Path,
    texts: Sequence[str],
    *,
    seconds: float,
    rounds: int,
    threads: int | None,
    unbatched: bool,
) -> Speeds:
    """Measure rounds of served, unbatched, bulk beside the client, and bulk alone, in turn."""
    model = TextClassifier.load(run, threads=threads)
    lengths = [len(ids) for ids in model.predictor_.tokenizer.encode(texts)]
    requests = predictions(texts)
    found = Speeds([], [], [], [], [])
    with contextlib.ExitStack() as servers:
        batching = servers.enter_context(serving(run, threads=threads))
        rival = (
            servers.enter_context(
                serving(run, threads=threads, module="benchmarks.serving.unbatched")
            )
            if unbatched
            else None
        )
        for server in (batching, rival):
            if server is not None:
                ask(server, requests, clients=CLIENTS, seconds=min(1.0, seconds))
        model.predict_proba(texts)
        for _ in range(rounds):
            load = _loaded(batching, requests, seconds)
            found.served.append(tokens_sent(load, lengths) / load.seconds)
            found.client.append(load.processor_s / load.seconds)
            if rival is not None:
                slow = _loaded(rival, requests, seconds)
                found.unbatched.append(tokens_sent(slow, lengths) / slow.seconds)
            with _client_alone(requests, found.client[-1], seconds):
                found.bulk.append(bulk(model, texts, sum(lengths), seconds))
            found.alone.append(bulk(model, texts, sum(lengths), seconds))
    return found


def bulk(model: TextClassifier, texts: Sequence[str], tokens: int, seconds: float) -> float:
    """Return the tokens per second of `predict_proba` over all texts, repeated for at least
    `seconds`.
    """
    begun, passes = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds or not passes:
        model.predict_proba(texts)
        passes += 1
    return passes * tokens / (time.perf_counter() - begun)


@contextlib.contextmanager
def _client_alone(requests: Sequence[Request], share: float, seconds: float) -> Iterator[None]:
    """Run a client at a share of a core without a server, during the block."""
    with asking(None, requests, clients=CLIENTS, share=share, seconds=_LONGEST_S) as client:
        time.sleep(min(_STARTS_S, seconds))
        try:
            yield
        finally:
            client.kill()


_LONGEST_S = 3_600.0
_STARTS_S = 0.3


def _loaded(server: Server, requests: Sequence[Request], seconds: float) -> Load:
    return _all_answered(ask(server, requests, clients=CLIENTS, seconds=seconds))


def _all_answered(load: Load) -> Load:
    if set(load.statuses) != {"200"}:
        raise SystemExit(f"expected only answers with status 200, got {load.statuses}")
    return load


def tokens_sent(load: Load, lengths: Sequence[int]) -> int:
    """Return the tokens of the answered texts, which were sent in turn and repeatedly."""
    passes, rest = divmod(load.answers, len(lengths))
    return passes * sum(lengths) + sum(lengths[:rest])
