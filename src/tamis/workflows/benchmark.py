"""Measure a classifier on this machine: batches, single messages, start-up and memory, in
comparison with alternatives.

The contenders take turns (A B C, A B C, ...), so that other load on the machine affects all of
them equally. A result is the median over the rounds. In a round, all contenders get the same texts,
which are new to all of them.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from tamis.classifier.saved_model import SavedModel, save_model
from tamis.compute import device as devices
from tamis.compute.matmul_benchmark import Dtype, measure_matmul
from tamis.errors import TamisError
from tamis.gpt2.features import FROZEN_TOKENS
from tamis.gpt2.model import MeanPoolingBlock
from tamis.workflows.benchmark_contenders import (
    RIVAL_BATCHES,
    Score,
    Subject,
    best_batch,
    new_texts,
    numbered_labels,
    ours,
    products,
    subject,
    tfidf,
    transformers_is_here,
    transformers_model,
    useful_operations,
)

Say = Callable[[str], None]
SLOW = 8
"""A contender that is more than SLOW times slower than the first one gets fewer texts, so that it
does not take most of the time."""
CEILING_S = 0.25
PEAK_MARGIN, PEAK_SPREAD = 1.1, 1.5
"""Largest plausible share of the peak rate, and ratio of its largest to its smallest
measurement."""
_LEAST_TEXTS, _MOST_TEXTS = 8, 50_000
_CHILD = """
import json, sys, time
begun = time.perf_counter()
from tamis.classifier.text_classifier import TextClassifier
imported = time.perf_counter()
classifier = TextClassifier.load(sys.argv[1], threads=int(sys.argv[3]), dtype=sys.argv[2])
loaded = time.perf_counter()
classifier.predict_proba(["You have won a prize, call now"])
scored = time.perf_counter()
from tamis.compute.memory import resident_mb
print(json.dumps([imported - begun, loaded - imported, scored - loaded, resident_mb()]))
"""


@dataclass(frozen=True)
class Bulk:
    """Results for batches of messages."""

    name: str
    messages_per_s: float
    tokens_per_s: float | None
    """Tokens of the subject's tokenizer; None for contenders without tokens."""
    share_of_ceiling: float | None
    """Useful operations per second, as a fraction of those of plain matrix products of the same
    shapes and dtype, measured in the same round; None also where that measurement was disturbed."""
    times_first: float
    """Speed relative to the first contender; median over the rounds."""
    rounds: list[float]
    """Messages per second in each round."""
    texts: int
    """Messages per round: the same for all, but fewer for a much slower contender (see `notes`)."""


@dataclass(frozen=True)
class Single:
    """Results for single messages."""

    name: str
    p50_ms: float
    p99_ms: float
    calls: int
    """Number of measured texts, the same for all; with 200 texts, two are above `p99_ms`."""


@dataclass(frozen=True)
class Start:
    """A new process: seconds to import, to load and to score a first text, and memory in megabytes
    afterwards.
    """

    dtype: str
    import_s: float
    load_s: float
    first_text_s: float
    memory_mb: float | None


@dataclass(frozen=True)
class Bench:
    """All results."""

    subject: str
    threads: int
    torch: str
    ceiling_gflops: dict[str, float]
    bulk: list[Bulk]
    single: list[Single]
    start: list[Start]
    same_labels: dict[str, float]
    """Fraction of messages with the same label as in fp32, by dtype."""
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values."""
        return asdict(self)


def bench(
    name: str,
    *,
    threads: int | None = None,
    seconds: float = 60.0,
    rivals: bool = True,
    say: Say = lambda _: None,
) -> Bench:
    """Measure a trained model or a backbone.

    Args:
        name: a run folder, a model folder, or a backbone.
        threads: number of CPU threads; all cores by default.
        seconds: approximate duration, without imports and loading.
        rivals: also measure TF-IDF and, if installed, transformers.
        say: receives messages for the user.

    Raises:
        TamisError: there is no such model.
    """
    compute = devices.resolve("cpu", threads, "fp32")
    devices.apply(compute)
    of = subject(name)
    notes = (
        []
        if of.trained
        else ["The head is untrained. Speed does not depend on it, but same_labels has no meaning."]
    )
    with tempfile.TemporaryDirectory() as place:
        contenders: dict[str, Score] = {}
        dtypes = devices.available_dtypes("cpu")
        for dtype in dtypes:
            contenders[f"tamis {dtype}"] = ours(of, dtype)
        if rivals:
            contenders |= time_rivals(of, Path(place), notes, say)
        say(f"Measuring batches: {', '.join(contenders)}")
        bulk, ceilings = _bulk(of, contenders, dtypes, compute.threads, seconds * 0.5, notes)
        say("Measuring single messages")
        single = _single(contenders, seconds * 0.25)
        say("Measuring new processes")
        start = _starts(of, Path(place) / "start", dtypes, compute.threads, notes)
        same = label_agreement(
            contenders,
            dtypes,
            count=max(16, min(500, int(bulk[0].messages_per_s * seconds * 0.05))),
        )
    return Bench(
        name, compute.threads, str(torch.__version__), ceilings, bulk, single, start, same, notes
    )


def time_rivals(of: Subject, place: Path, notes: list[str], say: Say) -> dict[str, Score]:
    """TF-IDF and, where it is installed, transformers with the same weights; name → scorer."""
    found: dict[str, Score] = {"TF-IDF + logistic regression": tfidf()}
    if not transformers_is_here():
        notes.append(
            "transformers is not installed, so it was not measured (pip install transformers)."
        )
        return found
    say("Loading transformers")
    of_batch = transformers_model(of, place / "transformers")
    if isinstance(of.model.transformer.h[-1], MeanPoolingBlock):
        notes.append(
            "transformers pools the last token and does not compute the pooling block, so it does "
            "less work."
        )
    best = best_batch(of_batch, new_texts(max(RIVAL_BATCHES), seed=2))
    return found | {f"transformers fp32, batch {best}": of_batch(best)}


def _bulk(
    of: Subject,
    contenders: dict[str, Score],
    dtypes: Sequence[Dtype],
    threads: int,
    seconds: float,
    notes: list[str],
) -> tuple[list[Bulk], dict[str, float]]:
    rounds = 3
    counts = texts_per_round(
        contenders, max(0.1, (seconds - rounds * len(dtypes) * CEILING_S) / (rounds + 1))
    )
    most, first = max(counts.values()), next(iter(contenders))
    for name, count in counts.items():
        if count < most:
            notes.append(
                f"{name} gets only the first {count} of the {most} texts of a round, because it is "
                f"more than {SLOW} times slower than {first}."
            )
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    work: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    limits: dict[str, list[float]] = {dtype: [] for dtype in dtypes}
    shapes = products(of.model.transformer, FROZEN_TOKENS)
    for number in range(rounds):
        for dtype in dtypes:
            limits[dtype].append(measure_matmul(shapes, dtype, CEILING_S, threads=threads))
        texts = new_texts(most, 100 + number)
        took = {name: seconds_of(run, texts[: counts[name]]) for name, run in contenders.items()}
        for name, spent in took.items():
            messages = of.encode(texts[: counts[name]])
            speeds[name].append(counts[name] / spent)
            work[name].append(
                (
                    messages.lengths.sum() / spent,
                    useful_operations(of.model.transformer, messages) / spent / 1e9,
                )
            )
    results = []
    for name in contenders:
        kind = _dtype_of(name)
        tokens, gflops = ([pair[i] for pair in work[name]] for i in (0, 1))
        plain = name.startswith("TF-IDF")
        shares = [rate / limit for rate, limit in zip(gflops, limits[kind], strict=True)]
        ratios = [a / b for a, b in zip(speeds[name], speeds[first], strict=True)]
        results.append(
            Bulk(
                name,
                median(speeds[name]),
                None if plain else float(median(tokens)),
                None if plain else median(shares),
                median(ratios),
                speeds[name],
                counts[name],
            )
        )
    results, told = without_disturbed_peaks(results, limits)
    notes += told
    return results, {dtype: median(found) for dtype, found in limits.items()}


def without_disturbed_peaks(
    results: Sequence[Bulk], limits: Mapping[str, Sequence[float]]
) -> tuple[list[Bulk], list[str]]:
    """Remove the share of a peak rate whose measurement was disturbed.

    No model computes faster than plain products, and the peak of an idle machine hardly changes
    from round to round: more than `PEAK_MARGIN` or `PEAK_SPREAD` means that other programs slowed
    the measurement of the peak down.

    Args:
        results: the results of batches.
        limits: GFLOP/s of plain products in each round, by dtype.

    Returns:
        The results, and a note for each dtype that was disturbed.
    """
    kept, notes = list(results), []
    for dtype, rates in limits.items():
        own = [row for row in kept if _dtype_of(row.name) == dtype]
        shares = [row.share_of_ceiling for row in own if row.share_of_ceiling is not None]
        spread = max(rates) / min(rates)
        if max(shares, default=0.0) <= PEAK_MARGIN and spread <= PEAK_SPREAD:
            continue
        kept = [replace(row, share_of_ceiling=None) if row in own else row for row in kept]
        notes.append(
            f"Other programs disturbed the measurement of the peak rate in {dtype} "
            f"({min(rates):.0f} to {max(rates):.0f} GFLOP/s in {len(rates)} rounds), so the share "
            "of the peak is not shown. Run the command again when the machine is idle."
        )
    return kept, notes


def _dtype_of(contender: str) -> str:
    return contender.removeprefix("tamis ") if contender.startswith("tamis ") else "fp32"


def texts_per_round(contenders: dict[str, Score], seconds: float) -> dict[str, int]:
    """Number of texts for each contender, so that a round takes about `seconds`; fewer for a
    contender that is more than `SLOW` times slower than the first.
    """
    costs, seed = {}, 10
    for name, run in contenders.items():  # seconds per text, measured with increasing numbers
        count, took = _LEAST_TEXTS, seconds_of(run, new_texts(_LEAST_TEXTS, seed))
        while took < seconds / len(contenders) / 8 and count < _MOST_TEXTS:
            count, seed = count * 4, seed + 1
            took = seconds_of(run, new_texts(count, seed))
        costs[name] = took / count
    first = next(iter(costs.values()))
    shares = {name: min(1.0, SLOW * first / cost) for name, cost in costs.items()}
    most = max(
        _LEAST_TEXTS,
        min(_MOST_TEXTS, int(seconds / sum(shares[name] * costs[name] for name in costs))),
    )
    return {name: max(_LEAST_TEXTS, int(most * share)) for name, share in shares.items()}


def _single(contenders: dict[str, Score], seconds: float) -> list[Single]:
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end, seed = time.perf_counter() + seconds, 10_000
    while len(next(iter(times.values()))) < 200 and (time.perf_counter() < end or seed == 10_000):
        text = new_texts(1, seed)
        for name, run in contenders.items():
            times[name].append(1e3 * seconds_of(run, text))
        seed += 1
    return [
        Single(name, median(found), float(np.percentile(found, 99)), len(found))
        for name, found in times.items()
    ]


def _starts(
    of: Subject, folder: Path, dtypes: Sequence[Dtype], threads: int, notes: list[str]
) -> list[Start]:
    save_model(folder, SavedModel(of.model, of.tokenizer, numbered_labels(of.model)))
    found = []
    for dtype in dtypes:
        try:
            found.append(fresh_process(folder, dtype, threads))
        except TamisError as error:
            notes.append(str(error))
    return found


def fresh_process(folder: Path, dtype: Dtype, threads: int) -> Start:
    """Load a model folder in a new process, score a text, and measure time and memory.

    Raises:
        TamisError: the process failed.
    """
    command = [sys.executable, "-c", _CHILD, str(folder), dtype, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TamisError(
            f"could not measure a new process in {dtype}: {' '.join(done.stderr.split())[-200:]}"
        )
    return Start(dtype, *json.loads(done.stdout.splitlines()[-1]))


def label_agreement(
    contenders: dict[str, Score], dtypes: Sequence[Dtype], count: int
) -> dict[str, float]:
    """The share of texts, a dtype, that get the label they get in fp32."""
    texts = new_texts(count, seed=3)
    labels = {dtype: np.asarray(contenders[f"tamis {dtype}"](texts)).argmax(1) for dtype in dtypes}
    return {dtype: float((found == labels["fp32"]).mean()) for dtype, found in labels.items()}


def seconds_of(run: Score, texts: Sequence[str]) -> float:
    """Wall-clock seconds of one call."""
    begun = time.perf_counter()
    run(texts)
    took = time.perf_counter() - begun
    if not math.isfinite(took) or took <= 0:
        raise TamisError("the clock did not advance during a measurement; run the command again")
    return took
