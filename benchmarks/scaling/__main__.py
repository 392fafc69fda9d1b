"""Measures what the calculation of `docs/explanation/scaling.md` starts from.

    python -m benchmarks.scaling driver --run RUN --data SMSSpamCollection --rows 60000
    python -m benchmarks.scaling steps --data SMSSpamCollection
    python -m benchmarks.score processes ... | python -m benchmarks.scaling record --command "..."

`driver`: processor time of the driver and of a scoring process, and bytes, per row and format; and
for a table of repeated messages (`repeated`). The model hardly matters for the driver: use a tiny
one. With the default model and `--only csv`, the processor time of a message. `steps`: the same for
training steps. `record`: keeps what `benchmarks.score` printed. `--rounds` runs in turn, of which
the medians count. After a measurement, write the page anew: `python docs/make_scaling.py`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.scaling import driver, steps
from benchmarks.scaling.recorded import recorded
from benchmarks.scaling.results import RESULTS, add

REPEATED = "repeated"


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("part", choices=("driver", "steps", "record"))
    parser.add_argument("--run", help="model folder; for driver")
    parser.add_argument("--name", default="tiny", help="of the model, in the results")
    parser.add_argument("--data", type=Path, help="the file SMSSpamCollection")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="formats or kinds of training")
    parser.add_argument("--command", default="", help="what printed the lines to record")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.part == "record":
        for measure, of, figures in recorded(sys.stdin):
            add(given.out, measure, of, figures, given.command)
    elif given.part == "steps":
        command = (
            f"python -m benchmarks.scaling steps --steps {given.steps} --rounds {given.rounds}"
        )
        for tune in given.only or steps.TUNES:
            figures = steps.measure(given.data, tune, steps=given.steps, rounds=given.rounds)
            print(tune, figures, flush=True)
            add(given.out, "training step", tune, figures, command)
    else:
        _driver(given)


def _driver(given: argparse.Namespace) -> None:
    command = (
        f"python -m benchmarks.scaling driver --name {given.name} --rows {given.rows} "
        f"--rounds {given.rounds}{' --only ' if given.only else ''}{' '.join(given.only or [])}"
    )
    kinds = given.only or [*driver.FORMATS, REPEATED]
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as temporary:
        for _ in range(given.rounds):
            for kind, rounds in found.items():
                distinct = kind != REPEATED
                figures = driver.measure(
                    given.run,
                    given.data,
                    Path(temporary),
                    kind=kind if distinct else "csv",
                    rows=given.rows if distinct else 10 * given.rows,
                    distinct=distinct,
                )
                rounds.append(figures)
                print(kind, figures, flush=True)
    for kind, rounds in found.items():
        figures = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        add(given.out, f"driver, {given.name}", kind, figures, command)


if __name__ == "__main__":
    main()
