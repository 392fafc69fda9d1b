"""Robustness of a server: correct answers to many clients at once, mixed load, and constant memory
over tens of thousands of requests.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.serving.process import Request, ask, asked, serving
from benchmarks.serving.results import Figure
from benchmarks.serving.speed import CLIENTS, predictions
from tamis.classifier.text_classifier import TextClassifier

SETTLING = 0.1
"""Share of the requests before memory is first measured: threads, caches and buffers fill up in
it."""
_LOOKS = 5


def answers(run: Path, texts: Sequence[str], *, threads: int | None) -> list[Figure]:
    """Compare the probabilities that 32 clients received, one text per request, with
    `predict_proba` of all texts in this process.
    """
    with serving(run, threads=threads) as server:
        _, bodies = asked(server, predictions(texts), clients=CLIENTS, count=len(texts), keep=True)
    model = TextClassifier.load(run, threads=threads)
    expected = model.predict_proba(texts)
    names = [str(label) for label in model.classes_]
    got = np.array(
        [
            [bodies[number]["results"][0]["probabilities"][name] for name in names]
            for number in range(len(texts))
        ]
    )
    return [
        Figure(
            "difference",
            float(np.abs(got - expected).max()),
            {"texts": len(texts), "clients": CLIENTS},
        )
    ]


def load(run: Path, texts: Sequence[str], *, seconds: float, threads: int | None) -> list[Figure]:
    """Run 32 clients that request predictions, explanations and lists, send corrections, and send
    invalid requests.
    """
    with serving(run, threads=threads) as server:
        seen = ask(server, mixed(texts), clients=CLIENTS, seconds=seconds)
        after = ask(server, predictions(texts), clients=1, count=1)
    failed = sum(
        count
        for status, count in seen.statuses.items()
        if status.startswith("5") or status == "broken"
    )
    failed += set(after.statuses) != {"200"}
    scale = {"seconds": seconds, "clients": CLIENTS, "requests": sum(seen.statuses.values())}
    return [
        Figure("server_errors", failed, scale, {"statuses": dict(sorted(seen.statuses.items()))})
    ]


def mixed(texts: Sequence[str]) -> list[Request]:
    """Return a mix of requests: mostly single texts, sometimes many texts, an explanation, a
    correction, or something invalid.
    """
    found: list[Request] = []
    for number, text in enumerate(texts):
        found.append(("POST", "/v1/predict", {"texts": [text]}))
        if number % 10 == 0:
            found.append(
                (
                    "POST",
                    "/v1/predict",
                    {"texts": list(itertools.islice(itertools.cycle(texts), number, number + 20))},
                )
            )
            found.append(
                (
                    "GET",
                    ("/v1/models", "/healthz", "/readyz", "/metrics", "/openapi.json", "/")[
                        number // 10 % 6
                    ],
                    None,
                )
            )
        if number % 25 == 0:
            invalid: list[Request] = [
                ("POST", "/v1/predict", {"texts": text}),
                ("POST", "/v1/predict", {"texts": [text], "model": "unknown"}),
                ("POST", "/v1/feedback", {"items": [{"text": text, "label": "no such label"}]}),
                ("DELETE", "/v1/feedback/123456789", None),
            ]
            found.append(invalid[number // 25 % 4])
        if number % 40 == 0:
            found.append(("POST", "/v1/explain", {"texts": [text]}))
    return found


def memory(run: Path, texts: Sequence[str], *, requests: int, threads: int | None) -> list[Figure]:
    """Measure the memory of the server before and after many requests."""
    settling = max(1, round(SETTLING * requests))
    with serving(run, threads=threads) as server:
        statuses = Counter(
            ask(server, predictions(texts), clients=CLIENTS, count=settling).statuses
        )
        seen = [server.resident_bytes()]
        for part in range(_LOOKS):
            count = requests * (part + 1) // _LOOKS - requests * part // _LOOKS
            statuses.update(ask(server, predictions(texts), clients=CLIENTS, count=count).statuses)
            seen.append(server.resident_bytes())
    details = {"resident_mb": [round(size / 2**20, 1) for size in seen], "statuses": dict(statuses)}
    return [
        Figure(
            "memory_growth",
            max(seen[1:]) / seen[0] - 1,
            {"requests": requests, "before them": settling},
            details,
        )
    ]
