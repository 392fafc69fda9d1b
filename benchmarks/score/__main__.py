"""Measures `tamis score`.

    python -m benchmarks.score memory --data SMSSpamCollection --rows 10000000 --distinct
    python -m benchmarks.score processes --run RUN --data SMSSpamCollection --rows 40000

`memory`: peak memory and rows per second on a table of 2,000 rows, on a tenth of the rows and on
all of them. The first is what the interpreter, the libraries and the model take; what the others
have beyond it is the share of the table. Rows repeat the messages of the data, or each has a text
of its own (`--distinct`, for which nothing can be remembered). Without `--run`, a tiny model is
made, so that ten million rows take minutes to an hour, not days: another model adds its own memory
and time, and changes nothing else.

`processes`: one process with one thread, two processes with one thread each, and one process with
two threads, on a table without repeated messages; each as often as `--rounds` says, in turn. Needs
a machine with two idle cores.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from benchmarks.score.measured_run import Measured, measure
from benchmarks.score.table import write_table
from benchmarks.score.tiny_model import write_tiny_model

SMALL_ROWS = 2_000
"""Rows of the table that shows what the model takes."""

PLANS = {"1 x 1": (1, 1), "2 x 1": (2, 2), "1 x 2": (1, 2)}
"""Processes, and threads of all processes, by the name of the plan: processes x threads of each."""


def main() -> None:
    """Read the arguments, measure, and print JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score")
    parser.add_argument("part", choices=("memory", "processes"))
    parser.add_argument("--run", help="run or model folder; memory makes a tiny one by default")
    parser.add_argument("--data", type=Path, required=True, help="the file SMSSpamCollection")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--distinct", action="store_true", help="no two texts are equal (memory)")
    parser.add_argument("--processes", type=int, help="scoring processes (memory)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the tables; a temporary one by default")
    given = parser.parse_args()
    if given.part == "processes" and given.run is None:
        parser.error("processes needs --run")
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        folder = Path(temporary)
        if given.part == "memory":
            _measure_memory(given, folder)
            return
        table = folder / "distinct.csv"
        write_table(given.data, table, given.rows, distinct=True)
        found: dict[str, list[float]] = {name: [] for name in PLANS}
        for turn in range(given.rounds):
            for name, (processes, threads) in PLANS.items():
                out = str(folder / f"{processes}-{threads}-{turn}")
                numbers = ("--processes", str(processes), "--threads", str(threads))
                measured = measure(given.run, str(table), out, *numbers)
                found[name].append(measured.summary["timing"]["scoring_seconds"])
                _print(name, given.rows, measured)
        one = statistics.median(found["1 x 1"])
        ratios = {name: round(one / statistics.median(times), 3) for name, times in found.items()}
        print(json.dumps({"speed compared with 1 x 1": ratios}))


def _measure_memory(given: argparse.Namespace, folder: Path) -> None:
    run = given.run or str(write_tiny_model(given.data, folder / "model"))
    numbers = ("--processes", str(given.processes)) if given.processes else ()
    for rows in (SMALL_ROWS, given.rows // 10, given.rows):
        table, out = folder / f"{rows}.csv", folder / f"{rows}"
        write_table(given.data, table, rows, distinct=given.distinct)
        _print("memory", rows, measure(run, str(table), str(out), *numbers))
        table.unlink()  # ten million rows and their results take gigabytes
        shutil.rmtree(out)


def _print(name: str, rows: int, measured: Measured) -> None:
    figures = {
        "plan": name,
        "rows": rows,
        "seconds": round(measured.seconds, 1),
        "rows_per_second": round(rows / measured.seconds, 1),
        "processor_seconds": round(measured.processor_seconds, 1),
        "peak_mb": round(measured.peak_mb),
        "command_mb": round(measured.command_mb),
        "processes": measured.processes,
        "texts_computed": measured.summary["texts_computed"],
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
