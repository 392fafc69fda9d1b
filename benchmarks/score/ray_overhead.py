"""Measures what `tamis score --engine ray` takes beyond `--engine local`, with the same number of
workers of one thread each, and compares the output of both byte by byte.

    python -m benchmarks.score.ray_overhead --run RUN --data SMSSpamCollection --rows 200000

The time is that of the whole commands: start of Ray, loading of the model, reading and writing
included. The share of the start falls with the number of rows. Seconds need a machine with as many
idle cores as `--workers`; the processor time of all processes may be compared on a busy one too,
but says nothing about cores that wait.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.score.measured_run import measure
from benchmarks.score.table import write_table


def main() -> None:
    """Read the arguments, measure, and print JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score.ray_overhead")
    parser.add_argument("--run", required=True, help="run or model folder")
    parser.add_argument("--data", type=Path, required=True, help="the file SMSSpamCollection")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the tables; a temporary one by default")
    given = parser.parse_args()
    workers = str(given.workers)
    engines = {
        "local": ("--engine", "local", "--processes", workers, "--threads", workers),
        "ray": ("--engine", "ray", "--processes", workers),
    }
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    processor: dict[str, list[float]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        folder = Path(temporary)
        table = folder / "distinct.csv"
        write_table(given.data, table, given.rows, distinct=True)
        for turn in range(given.rounds):
            for name, options in engines.items():
                out = folder / f"{name}-{turn}"
                found = measure(given.run, str(table), str(out), *options)
                seconds[name].append(found.seconds)
                processor[name].append(found.processor_seconds)
                figures = {
                    "engine": name,
                    "rows": given.rows,
                    "workers": given.workers,
                    "seconds": round(found.seconds, 1),
                    "scoring_seconds": round(found.summary["timing"]["scoring_seconds"], 1),
                    "processor_seconds": round(found.processor_seconds, 1),
                    "rows_per_second": round(given.rows / found.seconds, 1),
                    "peak_mb": round(found.peak_mb),
                }
                print(json.dumps(figures), flush=True)
            same = contents(folder / f"local-{turn}") == contents(folder / f"ray-{turn}")
            print(json.dumps({"the same bytes": same}), flush=True)
    for name, times in (("overhead of ray", seconds), ("of processor time", processor)):
        local, ray = (statistics.median(times[engine]) for engine in ("local", "ray"))
        print(json.dumps({name: round(ray / local - 1, 3)}))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


if __name__ == "__main__":
    main()
