"""Numbers, shares and figures as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def percent(share: float | None) -> str:
    """Format a fraction as a percentage with one decimal."""
    return "undefined" if share is None else f"{100 * share:.1f} %"


def with_interval(figures: Mapping[str, Any], key: str) -> str:
    """Format a share with its 95 % interval."""
    interval = (figures.get("ci95") or {}).get(key)
    if figures[key] is None or interval is None:
        return percent(figures[key])
    return f"{percent(figures[key])} ({percent(interval[0])} to {percent(interval[1])})"


def figures_line(found: Mapping[str, Any]) -> str:
    """Format accuracy, recall, false-positive rate, F1 and average precision on one line."""
    cells = [f"accuracy {percent(found['accuracy'])}", f"recall {percent(found['recall'])}"]
    if found["false_positive_rate"] is not None:
        cells.append(f"false-positive rate {percent(found['false_positive_rate'])}")
    cells.append("F1 undefined" if found["f1"] is None else f"F1 {found['f1']:.3f}")
    if found["average_precision"] is not None:
        cells.append(f"average precision {found['average_precision']:.3f}")
    return ", ".join(cells)


def arrow(shape: tuple[int, int]) -> str:
    """Format the shape of a head: inputs and outputs."""
    return f"{shape[0]} -> {shape[1]}"


def of_rows(count: int, rows: int) -> str:
    """Format a count with its share of `rows`."""
    return f"{count:,} of {rows:,} ({percent(count / rows if rows else None)})"
