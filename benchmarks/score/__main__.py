"""Measures `tamis score`.

    python -m benchmarks.score memory --run RUN --data SMSSpamCollection --rows 10000000
    python -m benchmarks.score processes --run RUN --data SMSSpamCollection --rows 40000

`memory`: peak memory and rows per second on a table of many repeated messages, at a tenth of the
rows and at all of them: the first must be about the second. `processes`: one process with one
thread, two processes with one thread each, and one process with two threads, on a table without
repeated messages; each as often as `--rounds` says, in turn. Needs a machine with two idle cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.score.measured_run import Measured, measure
from benchmarks.score.table import write_table

PLANS = {"1 x 1": (1, 1), "2 x 1": (2, 2), "1 x 2": (1, 2)}
"""Processes, and threads of all processes, by the name of the plan: processes x threads of each."""


def main() -> None:
    """Read the arguments, measure, and print JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score")
    parser.add_argument("part", choices=("memory", "processes"))
    parser.add_argument("--run", required=True, help="run or model folder")
    parser.add_argument("--data", type=Path, required=True, help="the file SMSSpamCollection")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the tables; a temporary one by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        folder = Path(temporary)
        if given.part == "memory":
            for rows in (given.rows // 10, given.rows):
                table = folder / f"{rows}.csv"
                write_table(given.data, table, rows, distinct=False)
                _print("memory", rows, measure(given.run, str(table), str(folder / f"{rows}")))
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


def _print(name: str, rows: int, measured: Measured) -> None:
    figures = {
        "plan": name,
        "rows": rows,
        "seconds": round(measured.seconds, 1),
        "rows_per_second": round(rows / measured.seconds, 1),
        "peak_mb": round(measured.peak_mb),
        "processes": measured.processes,
        "texts_computed": measured.summary["texts_computed"],
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
