"""Whole trainings by this version and by another one, in turn, in one run: the command as a user
starts it, start-up and report included.

    PYTHONPATH=src:. python -m benchmarks.speed.against OTHER TABLE --out FILE.jsonl \
        [--rounds 3] [--busy 0 1 2] [--both="--test MORE.csv"] [--theirs="--tune full"]

OTHER is the folder with the other version's package, for example `src` of another checkout. Both
run in this environment, from an empty cache. `--busy` are the numbers of other processes that each
keep one core busy; every round measures each of them. `--both`, `--ours` and `--theirs` are options
of `tamis train` for these sides.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tamis.workflows.busy_neighbour import busy_neighbour

HERE = Path(__file__).parents[2] / "src"
OURS, THEIRS = "ours", "theirs"


@dataclass(frozen=True)
class Measured:
    """One training."""

    side: str
    round: int
    busy: int
    """other processes, each of which kept one core busy"""
    seconds: float
    """of the whole command"""
    figures: dict[str, float]
    """of its report, for the test rows"""
    options: list[str]
    """of `tamis train`, of both sides and of its own"""


def trained(source: Path, table: str, options: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Train with the package in `source`; return the seconds, and the figures of the report.

    Raises:
        RuntimeError: the command failed; the message is what it said.
    """
    with tempfile.TemporaryDirectory() as made:
        run = Path(made) / "run"
        command = [sys.executable, "-m", "tamis", "train", table, "-o", str(run), *options]
        cache = os.environ.get("TAMIS_CACHE", str(Path(made) / "cache"))
        environment = {**os.environ, "PYTHONPATH": str(source), "TAMIS_CACHE": cache}
        # Elsewhere than in a checkout, whose folders would come before the path.
        begun = time.perf_counter()
        done = subprocess.run(command, env=environment, cwd=made, capture_output=True, text=True)
        seconds = time.perf_counter() - begun
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stderr[-2000:]}")
        return seconds, figures_of(run)


def figures_of(run: Path) -> dict[str, float]:
    """Return average precision, F1 and accuracy of a run's test rows, as far as its report has
    them.
    """
    report: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))
    found = report.get("test", report)
    found = found.get("metrics", found)
    names = ("average_precision", "f1", "accuracy")
    return {name: found[name] for name in names if isinstance(found.get(name), float)}


def ratios(rows: Sequence[Measured]) -> Iterator[tuple[int, float, list[float]]]:
    """Yield for each load the median ratio theirs / ours within a round, and the ratios."""
    for busy in sorted({row.busy for row in rows}):
        timed = {(row.side, row.round): row.seconds for row in rows if row.busy == busy}
        found = [
            seconds / timed[OURS, number]
            for (side, number), seconds in sorted(timed.items())
            if side == THEIRS and (OURS, number) in timed
        ]
        if found:
            yield busy, statistics.median(found), found


def kept_speed(rows: Sequence[Measured], side: str) -> Iterator[tuple[int, float]]:
    """Yield for each load but the first the median share of its idle speed that a side keeps."""
    idle = {row.round: row.seconds for row in rows if row.side == side and not row.busy}
    for busy in sorted({row.busy for row in rows if row.busy}):
        shares = [
            idle[row.round] / row.seconds
            for row in rows
            if row.side == side and row.busy == busy and row.round in idle
        ]
        if shares:
            yield busy, statistics.median(shares)


def read(file: Path) -> list[Measured]:
    """Return the trainings in a file of results."""
    return [Measured(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def table(rows: Sequence[Measured]) -> str:
    """Return medians, their ratio and the idle speed kept as a table in Markdown, a line a load."""
    kept = {side: dict(kept_speed(rows, side)) for side in (THEIRS, OURS)}
    lines = [
        "| other busy processes | rounds | before, s | now, s | before / now | idle speed kept "
        "before | now |",
        "|---|---|---|---|---|---|---|",
    ]
    for busy, median, each in ratios(rows):
        seconds = [
            statistics.median(row.seconds for row in rows if (row.side, row.busy) == (side, busy))
            for side in (THEIRS, OURS)
        ]
        shares = [f"{kept[side][busy]:.0%}" if busy else "" for side in (THEIRS, OURS)]
        lines.append(
            f"| {busy} | {len(each)} | {seconds[0]:.1f} | {seconds[1]:.1f} | {median:.2f} | "
            f"{shares[0]} | {shares[1]} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, metavar="OTHER")
    parser.add_argument("table", metavar="TABLE")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one training each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, nargs="+", default=[0])
    parser.add_argument("--both", default="", help="options of both")
    parser.add_argument("--ours", default="", help="options of this version alone")
    parser.add_argument("--theirs", default="", help="options of the other version alone")
    given = parser.parse_args(arguments)
    table = str(Path(given.table).resolve()) if Path(given.table).exists() else given.table
    sides = {
        THEIRS: (given.other.resolve(), shlex.split(f"{given.both} {given.theirs}")),
        OURS: (HERE, shlex.split(f"{given.both} {given.ours}")),
    }
    rows = []
    for number in range(given.rounds):
        for busy in given.busy:
            for side, (source, options) in sides.items():
                with busy_neighbour(busy):
                    seconds, figures = trained(source, table, options)
                rows.append(Measured(side, number, busy, seconds, figures, options))
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(rows[-1])) + "\n")
                print(f"round {number + 1}, {busy} busy, {side}: {seconds:.1f} s {figures}")
    for busy, median, each in ratios(rows):
        told = ", ".join(f"{one:.2f}" for one in each)
        print(f"{busy} busy: theirs / ours {median:.2f} ({told})")
    for side in sides:
        for busy, share in kept_speed(rows, side):
            print(f"{busy} busy: {side} keeps {share:.2f} of the idle speed")


if __name__ == "__main__":
    main()
