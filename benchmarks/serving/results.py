"""The targets of a served model, and the measurements: a JSON line per figure, and a table of the
latest ones.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Wanted:
    """A measure and its bound."""

    part: str
    """part of the benchmark"""
    what: str
    unit: str
    bound: float
    least: bool = False
    """whether the bound is a minimum, not a maximum"""

    def met(self, value: float) -> bool:
        """Return whether a value meets the bound."""
        return value >= self.bound if self.least else value <= self.bound


MEASURES = {
    "p50": Wanted("latency", "one request at a time: median", "ms", 8.0),
    "p99": Wanted("latency", "one request at a time: 99th percentile", "ms", 25.0),
    "share_of_bulk": Wanted(
        "speed",
        "32 clients, a message each: share of the bulk speed beside the same client",
        "",
        0.75,
        least=True,
    ),
    "over_unbatched": Wanted(
        "speed", "the same over a server that does not batch", "times", 2.0, least=True
    ),
    "beside_neighbour": Wanted(
        "neighbour",
        "32 clients while another process keeps one core busy: share of the idle speed",
        "",
        0.4,
        least=True,
    ),
    "difference": Wanted("answers", "largest difference from `predict_proba`", "", 1e-5),
    "server_errors": Wanted("load", "5xx under load", "", 0.0),
    "memory_growth": Wanted("memory", "growth of the server's memory", "", 0.05),
    "trunk_share": Wanted(
        "trunk", "random GPT-2 124M through HTTP: share of its bulk speed", "", 0.7, least=True
    ),
    "lost": Wanted("kills", "acknowledged corrections lost", "", 0.0),
    "came_back": Wanted("kills", "undone corrections that came back", "", 0.0),
    "unopened": Wanted("kills", "kills after which the store did not open", "", 0.0),
}
"""Targets by name, in the order of the table."""


@dataclass(frozen=True)
class Figure:
    """One measured value with its conditions."""

    measure: str
    value: float
    scale: dict[str, Any]
    """sizes of the measurement"""
    details: dict[str, Any] = field(default_factory=dict)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: dict[str, Any] = field(default_factory=lambda: machine())

    @property
    def wanted(self) -> Wanted:
        """The target of the measure."""
        return MEASURES[self.measure]

    @property
    def met(self) -> bool:
        """Whether the value meets the target."""
        return self.wanted.met(self.value)

    def line(self) -> str:
        """Return the line for a results file."""
        return json.dumps({**asdict(self), "met": self.met}, ensure_ascii=False)


def machine() -> dict[str, Any]:
    """Return the machine and its current load."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def read(file: Path) -> list[Figure]:
    """Return all figures of a file in order; none if the file does not exist."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [
        Figure(**{key: value for key, value in json.loads(line).items() if key != "met"})
        for line in lines
    ]


def table(figures: Iterable[Figure], *, only_measured: bool = False) -> str:
    """Return the latest figure of every measure as Markdown."""
    last = {figure.measure: figure for figure in figures}
    lines = ["| measure | wanted | measured | with | part |", "|---|---|---|---|---|"]
    for name, wanted in MEASURES.items():
        bound = f"{'at least' if wanted.least else 'at most'} {shown(wanted.bound, wanted.unit)}"
        found = last.get(name)
        if found is None and only_measured:
            continue
        measured = (
            ("not measured yet", "") if found is None else (_measured(found), _scale(found.scale))
        )
        lines.append(f"| {wanted.what} | {bound} | {' | '.join(measured)} | `{wanted.part}` |")
    return "\n".join(lines)


def shown(value: float, unit: str) -> str:
    """Format a value with its unit."""
    number = (
        f"{value:.1e}"
        if 0 < abs(value) < 1e-3
        else f"{value:,.3g}"
        if value < 100
        else f"{value:,.0f}"
    )
    return f"{number} {unit}".rstrip()


def _measured(figure: Figure) -> str:
    return shown(figure.value, figure.wanted.unit) + ("" if figure.met else " (missed)")


def _scale(scale: dict[str, Any]) -> str:
    return ", ".join(f"{value:,} {name}" for name, value in scale.items())


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 1e6) * len(ordered) // 1_000_000) - 1)]
