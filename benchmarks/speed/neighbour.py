"""The option `--neighbour` of the benchmarks: measure on the machine as it is, and again while
another process keeps one core busy.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from tamis.workflows.busy_neighbour import busy_cores, busy_neighbour

__all__ = ["IDLE", "TAKEN", "add_option", "busy_cores", "busy_neighbour", "loads"]

IDLE, TAKEN = "", "one core taken"
"""Names of the two loads; a figure of the first has no name, because it is the usual one."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option, as `neighbour`."""
    parser.add_argument(
        "--neighbour",
        action="store_true",
        help="measure every round also while another process keeps one core busy",
    )


def loads(neighbour: bool) -> Iterator[tuple[str, AbstractContextManager[None]]]:
    """Yield the name of each load, and the context to measure under."""
    yield IDLE, nullcontext()
    if neighbour:
        yield TAKEN, busy_neighbour()
