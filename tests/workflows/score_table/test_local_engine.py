"""Real models in real processes: the scores of `tamis predict`, the same bytes from any number of
processes and threads, and what happens when a process is lost or the model cannot be loaded.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tamis.classifier.text_classifier import TextClassifier
from tamis.errors import ConfigError, RunError
from tamis.workflows.score_table import parts as part_module
from tamis.workflows.score_table.chunk_scorer import ChunkScorer
from tamis.workflows.score_table.engine import Chunk, ScoredChunk, ScoringJob
from tamis.workflows.score_table.local_engine import MOST_LOSSES, LocalEngine
from tamis.workflows.score_table.process_plan import Trial, Workers, candidates
from tests import runs
from tests.rows import messages
from tests.workflows.score_table.stand_in import score

TEXTS = [f"{text} {number}" for number in range(3) for _, text in messages()][:300]


@cache
def table() -> Path:
    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["id", "text"], *enumerate(TEXTS)])

    return runs.made_once("score-table.csv", write)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_module, "CHUNK_TEXTS", 20)


def test_scores_are_those_of_predict_and_the_same_bytes_from_any_engine(tmp_path: Path) -> None:
    for name, (processes, threads) in {"one": (1, 1), "two": (2, 2)}.items():
        with_engine = LocalEngine(processes, threads)
        score(table(), tmp_path / name, with_engine, part_rows=70)
    score(table(), tmp_path / "threads", InThisProcess(), part_rows=70)
    found = runs.contents(tmp_path / "one")
    assert found == runs.contents(tmp_path / "two") == runs.contents(tmp_path / "threads")
    rows = [
        row
        for path in sorted((tmp_path / "one").glob("part-*"))
        for row in csv.DictReader(path.read_text("utf-8").splitlines())
    ]
    assert len(found) == 5 + 2 and len(rows) == 300
    expected = TextClassifier.load(runs.head_model(), threads=1).verdicts(TEXTS)
    for row, verdict in zip(rows, expected, strict=True):
        assert (row["label"], row["verdict"]) == (verdict.label, verdict.verdict)
        for label, p in verdict.probabilities.items():
            assert float(row[f"p_{label}"]) == pytest.approx(p, abs=1e-5)


class InThisProcess:
    """An engine without processes, that answers in reverse."""

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def start(self, job: ScoringJob) -> Any:
        self._scorer = ChunkScorer(job)
        return self._scorer.facts()

    def score(self, chunks: Iterable[Chunk]) -> Iterator[ScoredChunk]:
        # In a thread: a scorer gives its thread a number of torch threads for good.
        with ThreadPoolExecutor(1) as pool:
            for chunk in list(chunks)[::-1]:
                yield pool.submit(self._scorer.score, chunk).result()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL")
def test_a_lost_process_is_started_again_and_no_chunk_is_lost(tmp_path: Path) -> None:
    said: list[str] = []
    with LocalEngine(1, 1, say=said.append) as engine:
        engine.start(ScoringJob(str(runs.head_model())))
        chunks = [Chunk(0, place, (f"text {place}", "more")) for place in range(6)]
        found = []
        for each in engine.score(chunks):
            found.append(each.place)
            if len(found) == 2:
                (child,) = multiprocessing.active_children()
                os.kill(child.pid or 0, signal.SIGKILL)
    assert sorted(found) == list(range(6))
    assert len(said) == 1 and "signal 9" in said[0]
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL")
def test_a_process_that_is_always_lost_is_an_error() -> None:
    with LocalEngine(1, 1) as engine:
        engine.start(ScoringJob(str(runs.head_model())))

        def chunks() -> Iterator[Chunk]:
            for place in range(1_000):
                for child in multiprocessing.active_children():
                    os.kill(child.pid or 0, signal.SIGKILL)
                yield Chunk(0, place, ("a text",))

        with pytest.raises(RunError, match="ended unexpectedly"):
            for _ in range(MOST_LOSSES):
                list(engine.score(chunks()))
    assert not multiprocessing.active_children()


def test_errors_of_the_model_are_those_of_loading_it(tmp_path: Path) -> None:
    for processes in (None, 2):
        with LocalEngine(processes) as engine, pytest.raises(RunError, match="does not exist"):
            engine.start(ScoringJob(str(tmp_path / "nothing")))
    with pytest.raises(ConfigError, match="at least 1"):
        LocalEngine(0)
    assert not multiprocessing.active_children()


def test_numbers_of_processes_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "tamis.workflows.score_table.process_plan"
    monkeypatch.setattr(f"{module}.resolve_threads", lambda asked: (asked or 8, "told"))
    monkeypatch.setattr(f"{module}.available_mb", lambda: 10_000.0)

    def plans(
        processes: int | None, threads: int | None, device: str = "cpu", mb: float = 400.0
    ) -> list[tuple[int, int]]:
        found = candidates(processes, threads, device=device, resident_mb=mb)
        return [(plan.processes, plan.threads) for plan in found]

    assert plans(2, None) == [(2, 4)]
    assert plans(3, 2) == [(3, 1)]
    assert plans(None, 1) == [(1, 1)]
    assert plans(None, 2) == [(1, 2), (2, 1)]
    assert plans(None, None) == [(1, 8), (4, 2), (8, 1)]
    assert plans(None, None, mb=1_500.0) == [(1, 8)]  # four models would need most of the memory
    assert plans(None, None, mb=1_200.0) == [(1, 8), (4, 2)]
    assert plans(None, None, device="cuda") == [(1, 2)]


def test_the_fastest_candidate_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    speeds = {Workers(1, 4): 100, Workers(2, 2): 300, Workers(4, 1): 200}
    trial = Trial(list(speeds))
    tried = [trial.now]
    for _ in range(1_000):
        now += 10_000 / speeds[trial.now] / 25
        if trial.finished(400):
            tried.append(trial.now)
    assert tried == [*speeds, Workers(2, 2)]
    assert trial.ended()
    assert trial.speeds == pytest.approx(dict(speeds))
    assert not Trial([Workers(1, 1)]).finished(1)
