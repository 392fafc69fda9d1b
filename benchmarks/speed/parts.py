"""The parts of the speed benchmark. Each is a generator of contenders, which `run` times in turn.

`job` and the trainings compare whole jobs, `inference` bulk scoring, `latency` single messages;
`growth`, `length` and `start` measure tamis alone.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import compare, exact
from benchmarks.speed.rivals import rivals
from benchmarks.speed.shared import Rows, renewed
from tamis.compute.matmul_benchmark import Dtype, measure_matmul
from tamis.gpt2.scoring import score
from tamis.text.encoding import EncodedTexts
from tamis.workflows.benchmark import fresh_process
from tamis.workflows.benchmark_contenders import (
    Subject,
    new_texts,
    ours,
    plain_torch,
    products,
    tfidf,
    useful_operations,
)

LENGTHS = (16, 32, 64, 128, 256, 512, 1024)
GROWTH = (1, 4, 16)


@dataclass(frozen=True)
class Setting:
    """The state that all parts share."""

    of: Subject
    folder: Path
    """The trunk alone, in transformers' layout."""
    run: Path
    """The classifier, in tamis's layout."""
    place: Path
    """Folder for files of the rivals."""
    rows: Rows
    threads: int
    dtypes: tuple[Dtype, ...]


@dataclass(frozen=True)
class Timed:
    """A contender; calling it returns one value per round."""

    name: str
    call: Callable[[int], float]
    """Called with the round's number."""
    variant: str = ""
    unit: str = "s"
    size: float = 1.0
    about: dict[str, str | float] = field(default_factory=dict)
    """`ceiling`: the type whose ceiling its `size` (GFLOP) is a share of; `batch`: description of a
    rival's batch."""


def ceilings(of: Setting) -> Iterator[Timed]:
    """Matrix products in the model's shapes, in every type."""
    shapes = products(of.of.model.transformer, 1024)
    for dtype in of.dtypes:
        yield Timed(
            f"ceiling {dtype}",
            lambda _, d=dtype: measure_matmul(shapes, d, 0.5, threads=of.threads),  # type: ignore[misc]
            unit="GFLOP/s",
        )


def job(of: Setting, loop_share: float = 1.0) -> Iterator[Timed]:
    """The TP2 job; `loop_share` is the share of the rows that the reference's loop uses.

    Its cost is proportional to the rows, so its seconds are divided by that share.
    """
    some = of.rows.part(loop_share)
    part = (len(some.train_texts) + len(some.test_texts)) / (
        len(of.rows.train_texts) + len(of.rows.test_texts)
    )
    for name, call in compare.job(of.folder, of.rows, of.threads, loop_data=some).items():
        if name == "reference loop" and part < 1:
            yield Timed(f"{name}, from {part:.0%} of the rows", lambda n, c=call: c(n) / part)  # type: ignore[misc]
        else:
            yield Timed(name, call)


def train(of: Setting, how: str, epochs: int) -> Iterator[Timed]:
    """One training: Trainer (if accelerate is installed), the same steps in a plain loop, and
    tamis.
    """
    if importlib.util.find_spec("accelerate") is not None:
        for name, call in compare.train(of.folder, of.rows, how, epochs).items():
            if name != "tamis":
                yield Timed(name, call)
    if how == "frozen":
        yield Timed("tamis", compare.train(of.folder, of.rows, how, epochs)["tamis"])
        return
    rows = exact.usable(of.rows)

    def new(number: int) -> Rows:
        return replace(rows, train_texts=renewed(rows.train_texts, number))

    yield Timed(
        "transformers, plain loop",
        lambda n: exact.theirs(of.folder, new(n), how, epochs=epochs).seconds,
    )
    yield Timed(
        "tamis, the same steps", lambda n: exact.ours(of.folder, new(n), how, epochs=epochs).seconds
    )


def inference(of: Setting) -> Iterator[Timed]:
    """Bulk scoring of the test rows, every rival at its best batch size; TF-IDF is the lower limit
    of cost.
    """
    texts = of.rows.test_texts
    work = useful_operations(of.of.model.transformer, of.of.encode(texts)) / 1e9
    yield from ceilings(of)
    yield Timed("TF-IDF + logistic regression", _timing(tfidf(), texts))
    for rival in rivals(of.of, of.place, of.threads, texts[:64], pipeline=True):
        about: dict[str, str | float] = {"batch": rival.batch}
        if rival.ceiling:
            about["ceiling"] = rival.ceiling
        yield Timed(rival.name, _timing(rival.run, texts), size=work, about=about)
    for dtype in of.dtypes[::-1]:
        yield Timed(
            f"tamis {dtype}",
            _timing(ours(of.of, dtype), texts),
            size=work,
            about={"ceiling": dtype},
        )


def latency(of: Setting, calls: int = 50) -> Iterator[Timed]:
    """One message at a time: median and 99th percentile of `calls` calls."""
    contenders = {"TF-IDF + logistic regression": tfidf()}
    contenders |= {
        rival.name: rival.run
        for rival in rivals(of.of, of.place, of.threads, of.rows.test_texts[:8])
    }
    contenders["tamis fp32, torch alone"] = plain_torch(of.of)
    contenders |= {f"tamis {dtype}": ours(of.of, dtype) for dtype in of.dtypes[::-1]}
    for name, run in contenders.items():
        times: dict[int, Any] = {}

        def measured(number: int, run: Any = run, times: dict[int, Any] = times) -> Any:
            if number not in times:
                texts = new_texts(calls, 1000 + number)
                run(texts[:1])
                times[number] = [_seconds(run, [text]) for text in texts]
            return times[number]

        yield Timed(name, lambda n, m=measured: float(np.median(m(n))), variant="p50")  # type: ignore[misc]
        yield Timed(name, lambda n, m=measured: float(np.percentile(m(n), 99)), variant="p99")  # type: ignore[misc]


def start(of: Setting) -> Iterator[Timed]:
    """`import tamis`, `tamis predict` from a cold start, and the memory of a new process after
    scoring.
    """
    python = [sys.executable, "-c", "import tamis"]
    predict = [
        sys.executable,
        "-m",
        "tamis",
        "predict",
        str(of.run),
        "You have won a prize",
        "--threads",
        str(of.threads),
    ]
    yield Timed("import tamis", lambda _: _process(python))
    yield Timed("tamis predict, one text", lambda _: _process(predict))
    for dtype in of.dtypes:
        yield Timed(
            "memory at rest",
            lambda _, d=dtype: fresh_process(of.run, d, of.threads).memory_mb or 0.0,  # type: ignore[misc]
            dtype,
            "MB",
        )


def growth(of: Setting, base: int) -> Iterator[Timed]:
    """1, 4 and 16 times the messages, each in a new process: seconds and peak memory."""
    for factor in GROWTH:
        found: dict[int, Any] = {}

        def once(number: int, factor: int = factor, found: dict[int, Any] = found) -> Any:
            if number not in found:
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.speed.child",
                    str(of.run),
                    str(base * factor),
                    str(of.threads),
                    "fp32",
                ]
                found[number] = json.loads(
                    subprocess.run(command, check=True, capture_output=True, text=True).stdout
                )
            return found[number]

        yield Timed(
            f"{factor}x messages",
            lambda n, f=once: float(f(n)["seconds"]),  # type: ignore[misc]
            "time",
            size=base * factor,
        )
        yield Timed(
            f"{factor}x messages",
            lambda n, f=once: float(f(n)["peak_mb"]),  # type: ignore[misc]
            "peak memory",
            "MB",
            base * factor,
        )


def length(of: Setting, tokens: int) -> Iterator[Timed]:
    """The same number of tokens in messages of one length, from 16 up to the context."""
    random = np.random.default_rng(42)
    for size in LENGTHS:
        if size > of.of.context:
            continue
        rows = max(1, tokens // size)

        def once(_: int, size: int = size, rows: int = rows) -> float:
            windows = tuple(
                random.integers(0, of.of.model.transformer.config.vocab_size, (rows, size)).astype(
                    np.int32
                )
            )
            messages = EncodedTexts(windows, np.arange(rows + 1), np.arange(rows))
            return _seconds(lambda m: score(of.of.model, m), messages)

        yield Timed(f"{size} tokens a message", once, size=rows * size)


def exponent(figures: Sequence[tuple[float, float]]) -> float:
    """Return the slope of log seconds over log size: 1 is linear."""
    sizes, seconds = np.log(np.array(figures, dtype=np.float64)).T
    return float(np.polyfit(sizes, seconds, 1)[0])


def _timing(run: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> Callable[[int], float]:
    return lambda number: _seconds(run, renewed(texts, number))


def _seconds(run: Callable[[Any], Any], given: Any) -> float:
    begun = time.perf_counter()
    run(given)
    return time.perf_counter() - begun


def _process(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun
