"""From measured inputs to a table of any size and a cluster: the time of `tamis score`.

Prices are the reader's own:

    python -m benchmarks.scaling.scoring --messages 1e8 --workers 64 --price 0.05

Every worker has one thread on a core of its own; the driver has a core as well. All functions are
formulas; what they are applied to is in `results.jsonl`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from benchmarks.scaling.results import read
from tamis.workflows.score_table.engine import CHUNK_TEXTS
from tamis.workflows.score_table.parts import PART_ROWS
from tamis.workflows.score_table.ray_engine import AHEAD
from tamis.workflows.score_table.scored_parts import MOST_OPEN_PARTS

HOUR = 3600.0
Lines = dict[tuple[str, str], dict[str, Any]]


@dataclass(frozen=True)
class Costs:
    """What a row costs, in seconds of a core."""

    message: float
    """in a worker, for each distinct message"""
    survey: float
    """in the driver, before the first message is scored"""
    driver: float
    """in the driver, beside the workers: reading again, sending, writing"""
    start: float
    """of the driver and a worker, once"""
    efficiency: float
    """speed of a worker beside others, compared with one alone"""


@dataclass(frozen=True)
class Run:
    """A table on a number of workers."""

    seconds: float
    core_seconds: float
    """of the work; idle cores are not in it"""
    driver_busy: float
    """share of the time"""


def costs(lines: Lines, table: str = "csv", model: str = "nano") -> Costs:
    """Return the measured costs of a table's format and a model."""
    one = lines[f"driver, {model}", "csv"]["figures"]
    figures = lines["driver, tiny", table]["figures"]
    survey = figures["survey_us_per_row"]
    return Costs(
        message=1e-6 * one["worker_us_per_row"],
        survey=1e-6 * survey,
        driver=1e-6 * (figures["driver_us_per_row"] - survey),
        start=one["driver_start_seconds"] + one["worker_start_seconds"],
        efficiency=lines["processes", "speed"]["figures"]["2 x 1"] / 2,
    )


def score(of: Costs, messages: float, workers: int, distinct: float = 1.0) -> Run:
    """Return what a table takes.

    Args:
        of: a row's costs.
        messages: rows of the table.
        workers: processes with one thread.
        distinct: share of the messages that no earlier message equals.
    """
    efficiency = of.efficiency if workers > 1 else 1.0
    computed = messages * distinct * of.message / efficiency
    beside = messages * of.driver
    # At the end workers wait for the one that got its chunks last.
    last = 2 * CHUNK_TEXTS * of.message if workers > 1 else 0.0
    seconds = of.start + messages * of.survey + max(computed / workers, beside) + last
    core_seconds = computed + beside + messages * of.survey + workers * of.start
    return Run(seconds, core_seconds, (messages * of.survey + beside) / seconds)


def most_workers(of: Costs, distinct: float = 1.0) -> float:
    """Return the number of workers that one driver keeps busy."""
    return distinct * of.message / (of.efficiency * of.driver)


def most_workers_by_parts(ahead: int = AHEAD) -> int:
    """Return the number of workers for which there are chunks enough in the parts that are in
    memory, with parts of the default size. One part is always waiting for its last chunk.

    Args:
        ahead: chunks under way for each worker.
    """
    return (MOST_OPEN_PARTS - 1) * -(-PART_ROWS // CHUNK_TEXTS) // ahead


def money(core_seconds: float, price: float) -> float:
    """Return the cost of processor time at a price per core hour."""
    return core_seconds / HOUR * price


def main() -> None:
    """Print what a table takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.scoring")
    parser.add_argument("--messages", type=float, default=1e8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--distinct", type=float, default=1.0, help="share of distinct messages")
    parser.add_argument("--table", default="csv", help="format of the table")
    parser.add_argument("--price", type=float, help="of a core hour, in a currency of your own")
    given = parser.parse_args()
    found = score(costs(read(), given.table), given.messages, given.workers, given.distinct)
    print(
        f"{found.seconds / HOUR:.2f} h, {found.core_seconds / HOUR:.1f} core hours, driver busy "
        f"{100 * found.driver_busy:.0f} % of the time"
    )
    if given.price is not None:
        print(f"{money(found.core_seconds, given.price):.2f} for the cores that work")


if __name__ == "__main__":
    main()
