"""How fast a server answers: one request at a time, and 32 clients beside what the model does in
bulk on what the client leaves over.
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

CLIENTS = 32
_WARM_REQUESTS = 50


def predictions(texts: Sequence[str]) -> list[Request]:
    """A request a text."""
    return [("POST", "/v1/predict", {"texts": [text]}) for text in texts]


def latency(run: Path, texts: Sequence[str], *, requests: int, threads: int | None) -> list[Figure]:
    """One client, one text a request, the next one when the answer is there."""
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
    """Tokens a second, a number a round."""

    served: list[float]
    unbatched: list[float]
    """by the same code, a text a turn; empty where there is no such server"""
    bulk: list[float]
    """`predict_proba` beside a client that takes as much of the processor"""
    alone: list[float]
    """`predict_proba` with the machine to itself"""
    client: list[float]
    """share of one core that the client took"""

    def details(self) -> dict[str, object]:
        """Medians, to be kept beside a share."""
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
        """The median over rounds of what was served as a multiple of the rival: what else the
        machine does meets both sides of a round.
        """
        return statistics.median(
            mine / other for mine, other in zip(self.served, rival, strict=True)
        )


def speed(
    run: Path, texts: Sequence[str], *, seconds: float, rounds: int, threads: int | None
) -> list[Figure]:
    """32 clients beside bulk, and beside a server that does not batch."""
    found = _speeds(run, texts, seconds=seconds, rounds=rounds, threads=threads, unbatched=True)
    scale = {"clients": CLIENTS, "rounds": rounds, "seconds a round": seconds}
    return [
        Figure("share_of_bulk", found.share(found.bulk), scale, found.details()),
        Figure("over_unbatched", found.share(found.unbatched), scale, found.details()),
    ]


def trunk(
    run: Path, texts: Sequence[str], *, seconds: float, rounds: int, threads: int | None
) -> list[Figure]:
    """The same clients on a larger model, whose trunk takes nearly all the time."""
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


def _speeds(
    run: Path,
    texts: Sequence[str],
    *,
    seconds: float,
    rounds: int,
    threads: int | None,
    unbatched: bool,
) -> Speeds:
    """Rounds of served, unbatched, bulk beside the client, bulk alone, in turn."""
    model = TextClassifier.load(run, threads=threads)
    lengths = [len(ids) for ids in model.tokenizer_.encode(texts)]
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
    """Tokens a second of `predict_proba`, over all texts again and again for at least so long."""
    begun, passes = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds or not passes:
        model.predict_proba(texts)
        passes += 1
    return passes * tokens / (time.perf_counter() - begun)


@contextlib.contextmanager
def _client_alone(requests: Sequence[Request], share: float, seconds: float) -> Iterator[None]:
    """A client at work at a share of a core without a server, for as long as the block takes."""
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
        raise SystemExit(f"expected answers with status 200 alone, got {load.statuses}")
    return load


def tokens_sent(load: Load, lengths: Sequence[int]) -> int:
    """Tokens of the texts that were answered, which were asked in turn and over again."""
    passes, rest = divmod(load.answers, len(lengths))
    return passes * sum(lengths) + sum(lengths[:rest])
