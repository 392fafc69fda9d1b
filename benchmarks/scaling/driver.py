"""What a run of `tamis score` costs the process that reads and writes (the driver), and what it
costs the process that computes: processor time, which other programs on the machine hardly change.

Each run is a process of its own with one scoring process of one thread. The cost of a row is the
slope between a table and one of a tenth of its rows, so the start is not in it.
"""

from __future__ import annotations

import gzip
import json
import pickle
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.score.table import write_table
from tamis.workflows.score_table.engine import Chunk, ModelFacts, ScoredChunk, ScoringJob
from tamis.workflows.score_table.local_engine import LocalEngine
from tamis.workflows.score_table.open_table import open_table
from tamis.workflows.score_table.options import ScoreOptions
from tamis.workflows.score_table.output_folder import LocalFolder
from tamis.workflows.score_table.parts import PART_ROWS, cut_parts
from tamis.workflows.score_table.run import score_table
from tamis.workflows.score_table.source import local_source
from tamis.workflows.score_table.survey import survey


class CountingEngine(LocalEngine):
    """Counts what travels between driver and workers. Pickles everything once more: not for
    measurements of time.
    """

    texts = bytes_out = bytes_back = 0

    def score(self, chunks: Iterable[Chunk]) -> Iterator[ScoredChunk]:
        """Yield the scores of all chunks."""

        def counted() -> Iterator[Chunk]:
            for chunk in chunks:
                self.texts += len(chunk.texts)
                self.bytes_out += len(pickle.dumps(chunk))
                yield chunk

        for scored in super().score(counted()):
            self.bytes_back += len(pickle.dumps(scored))
            yield scored


class Watched(CountingEngine):
    """Notes the processor time of this process when the model is loaded."""

    loaded = 0.0

    def start(self, job: ScoringJob) -> ModelFacts:
        """Load the model."""
        facts = super().start(job)
        self.loaded = used(resource.RUSAGE_SELF)
        return facts

    def score(self, chunks: Iterable[Chunk]) -> Iterator[ScoredChunk]:
        """Yield the scores of all chunks."""
        return LocalEngine.score(self, chunks)


def used(who: int) -> float:
    """Return the processor time in seconds of this process or of its ended children."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def as_csv(source: Path, target: Path) -> None:
    """Copy a CSV."""
    shutil.copyfile(source, target)


def as_gzip(source: Path, target: Path) -> None:
    """Compress a CSV, at the level that gzip has by default."""
    with source.open("rb") as file, gzip.open(target, "wb", compresslevel=6) as out:
        shutil.copyfileobj(file, out)


def as_jsonl(source: Path, target: Path) -> None:
    """Write the rows of a CSV as JSONL."""
    import polars

    polars.read_csv(source).write_ndjson(target)


def as_parquet(source: Path, target: Path) -> None:
    """Write the rows of a CSV as Parquet."""
    import polars

    polars.read_csv(source).write_parquet(target)


READINGS = 3
"""Of which the shortest counts: other programs on a processor make times longer, never shorter."""
FORMATS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "csv": ("csv", as_csv),
    "csv.gz": ("csv.gz", as_gzip),
    "jsonl": ("jsonl", as_jsonl),
    "parquet": ("parquet", as_parquet),
}
"""Ending of the file and how it is made of a CSV."""


def measure(
    run: str, data: Path, folder: Path, *, kind: str, rows: int, distinct: bool
) -> dict[str, Any]:
    """Return the figures of a format.

    Args:
        run: model folder.
        data: the file SMSSpamCollection.
        folder: for tables and results.
        kind: one of `FORMATS`.
        rows: of the larger table.
        distinct: whether no two texts are equal.
    """
    small, large = (
        _run(run, _table(data, folder, kind, count, distinct), folder, count=False)
        for count in (rows // 10, rows)
    )
    travelling = _run(run, _table(data, folder, kind, rows // 10, distinct), folder, count=True)
    between = rows - rows // 10
    texts = travelling["texts"]
    worker = _slope(small, large, "worker_seconds", between)
    readings = [reading(_table(data, folder, kind, rows, distinct)) for _ in range(READINGS)]
    surveyed, read = (min(times) for times in zip(*readings, strict=True))
    return {
        "rows": rows,
        "driver_us_per_row": _slope(small, large, "driver_seconds", between),
        "worker_us_per_row": worker,
        "survey_us_per_row": round(1e6 * surveyed / rows, 2),
        "read_us_per_row": round(1e6 * read / rows, 2),
        "driver_start_seconds": round(small["driver_start_seconds"], 2),
        "worker_start_seconds": round(small["worker_seconds"] - 1e-7 * rows * worker, 2),
        "bytes_in_per_row": round(large["bytes_in"] / rows, 1),
        "bytes_out_per_row": round(large["bytes_out"] / rows, 1),
        "bytes_to_worker_per_text": round(travelling["bytes_to_worker"] / texts, 1),
        "bytes_from_worker_per_text": round(travelling["bytes_from_worker"] / texts, 1),
        "texts_computed_share": round(large["texts_computed"] / rows, 4),
        "model_bytes": sum(file.stat().st_size for file in Path(run).rglob("*") if file.is_file()),
    }


def reading(table: Path) -> tuple[float, float]:
    """Return the processor time of the two readings of a table: for its hash and encoding, and for
    its rows, cut into parts without repeated texts.
    """
    source = local_source(table)
    begun = time.process_time()
    known = survey(source)
    surveyed = time.process_time()
    opened = open_table(source, known, text=None, header=None)
    for part in cut_parts(opened.rows, PART_ROWS):
        part.chunks()
    return surveyed - begun, time.process_time() - surveyed


def _slope(small: dict[str, Any], large: dict[str, Any], name: str, rows: int) -> float:
    return round(1e6 * (float(large[name]) - float(small[name])) / rows, 2)


def _table(data: Path, folder: Path, kind: str, rows: int, distinct: bool) -> Path:
    ending, convert = FORMATS[kind]
    plain = folder / f"{rows}-{distinct}-plain.csv"
    if not plain.exists():
        write_table(data, plain, rows, distinct=distinct)
    table = folder / f"{rows}-{distinct}.{ending}"
    if not table.exists():
        convert(plain, table)
    return table


def _run(run: str, table: Path, folder: Path, *, count: bool) -> dict[str, Any]:
    """Score a table in a new process."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.scaling.driver", run, str(table), str(out)]
    command += ["count"] if count else []
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def main(run: str, table: str, out: str, *rest: str) -> None:
    """Score a table; print what it cost as JSON."""
    engine = CountingEngine(1, 1) if rest else Watched(1, 1)
    job = ScoringJob(run, device="cpu")
    path = Path(table)
    outcome = score_table(job, local_source(path), LocalFolder(Path(out)), engine, ScoreOptions())
    found = {
        "driver_seconds": used(resource.RUSAGE_SELF),
        "worker_seconds": used(resource.RUSAGE_CHILDREN),
        "driver_start_seconds": getattr(engine, "loaded", 0.0),
        "bytes_in": path.stat().st_size,
        "bytes_out": sum(part.stat().st_size for part in Path(out).glob("part-*")),
        "texts": engine.texts,
        "bytes_to_worker": engine.bytes_out,
        "bytes_from_worker": engine.bytes_back,
        "texts_computed": outcome.summary["texts_computed"],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
