"""What `benchmarks.score` printed, as lines of the results."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from typing import Any


def recorded(lines: Iterable[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield measure, kind and figures of each comparison that the lines hold.

    Args:
        lines: JSON lines of `python -m benchmarks.score processes` or
            `python -m benchmarks.score.ray_overhead`; others are skipped.
    """
    seconds: dict[str, list[float]] = {}
    about: dict[str, Any] = {}
    for line in lines:
        found = json.loads(line) if line.startswith("{") else {}
        if "engine" in found:
            seconds.setdefault(f"{found['engine']}_seconds", []).append(found["seconds"])
            about = {"rows": found["rows"], "workers": found["workers"]}
        elif "speed compared with 1 x 1" in found:
            yield "processes", "speed", found["speed compared with 1 x 1"]
    if seconds:
        yield "engines", "ray", about | {k: statistics.median(v) for k, v in seconds.items()}
