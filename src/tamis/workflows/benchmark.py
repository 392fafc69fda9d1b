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
from dataclasses import replace
from pathlib import Path
from statistics import median

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
from tamis.workflows.benchmark_results import Bench, Beside, Bulk, Single, Start
from tamis.workflows.busy_neighbour import busy_cores, busy_neighbour

Say = Callable[[str], None]
SLOW = 8
"""A contender that is more than SLOW times slower than the first one gets fewer texts, so that it
does not take most of the time."""
ROUNDS = 3
CEILING_S = 0.25
MOST_BUSY_CORES = 0.2
"""Cores that other programs may keep busy on an idle machine."""
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


def bench(
    name: str,
    *,
    threads: int | None = None,
    seconds: float = 60.0,
    rivals: bool = True,
    neighbour: bool = False,
    say: Say = lambda _: None,
) -> Bench:
    """Measure a trained model or a backbone.

    Args:
        name: a run folder, a model folder, or a backbone.
        threads: number of CPU threads; all cores by default.
        seconds: approximate duration, without imports and loading.
        rivals: also measure TF-IDF and, if installed, transformers.
        neighbour: also measure while another process keeps one core busy; `seconds` is then for
            both together.
        say: receives messages for the user.

    Raises:
        TamisError: there is no such model.
    """
    busy = busy_cores()
    compute = devices.resolve("cpu", threads, "fp32")
    devices.apply(compute)
    of = subject(name)
    if neighbour:
        seconds /= 2
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
        beside: list[Beside] = []
        if neighbour:
            say("Measuring beside a process that keeps one core busy")
            with busy_neighbour():
                beside = _beside(contenders, bulk, seconds)
        say("Measuring new processes")
        start = _starts(of, Path(place) / "start", dtypes, compute.threads, notes)
        same = label_agreement(
            contenders,
            dtypes,
            count=max(16, min(500, int(bulk[0].messages_per_s * seconds * 0.05))),
        )
    if busy is not None and busy > MOST_BUSY_CORES:
        notes.append(
            f"Other programs kept {busy:.1f} cores busy before the measurement. Run the command "
            "again when the machine is idle."
        )
    found = (ceilings, bulk, single, start, same, notes, beside, busy)
    return Bench(name, compute.threads, str(torch.__version__), *found)


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
    counts = texts_per_round(
        contenders, max(0.1, (seconds - ROUNDS * len(dtypes) * CEILING_S) / (ROUNDS + 1))
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
    for number in range(ROUNDS):
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


def _single(contenders: dict[str, Score], seconds: float, first_seed: int = 10_000) -> list[Single]:
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end, seed = time.perf_counter() + seconds, first_seed
    while len(next(iter(times.values()))) < 200 and (
        time.perf_counter() < end or seed == first_seed
    ):
        text = new_texts(1, seed)
        for name, run in contenders.items():
            times[name].append(1e3 * seconds_of(run, text))
        seed += 1
    return [
        Single(name, median(found), float(np.percentile(found, 99)), len(found))
        for name, found in times.items()
    ]


def _beside(contenders: dict[str, Score], idle: Sequence[Bulk], seconds: float) -> list[Beside]:
    """Measure as many batches as on the idle machine, as new texts, and single messages again."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    counts = {row.name: row.texts for row in idle}
    for number in range(ROUNDS):
        texts = new_texts(max(counts.values()), 200 + number)
        for name, run in contenders.items():
            speeds[name].append(counts[name] / seconds_of(run, texts[: counts[name]]))
    before = {row.name: row.messages_per_s for row in idle}
    return [
        Beside(
            one.name,
            median(speeds[one.name]),
            median(speeds[one.name]) / before[one.name],
            one.p50_ms,
            one.p99_ms,
        )
        for one in _single(contenders, seconds * 0.25, first_seed=20_000)
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
