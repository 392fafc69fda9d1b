"""Header and facts of a report in words: data, rows, seconds with names and units, versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PHASES = {
    "data": "Reading and splitting the data",
    "quick": "Quick model, with its evaluation",
    "train": "Training",
    "tuning": "Tuning that was not used",
    "test": "Scoring the evaluated rows",
    "baselines": "Baselines: training and scoring",
    "ood": "Out-of-distribution detection",
    "write": "Writing the run folder",
}
_BASELINES = {"baseline_tfidf": "TF-IDF", "baseline_majority": "Majority class"}


def title_of(report: Mapping[str, Any]) -> str:
    """The data and up to six classes."""
    title = f"{report['data'] or 'Report'}: {' / '.join(map(str, report['classes'][:6]))}"
    more = len(report["classes"]) - 6
    return f"{title} and {more} more classes" if more > 0 else title


def origin_of_test_rows(report: Mapping[str, Any]) -> tuple[str, str]:
    """Where the test rows come from: a name and its value, `split` or `test file`."""
    if report.get("test_data"):
        return "test file", str(report["test_data"])
    return "split", str(report["split"])


def header_facts(report: Mapping[str, Any]) -> list[str]:
    """Backbone, tuning mode, origin of the test rows, and rows by part."""
    counts = ", ".join(
        f"{count:,} {name}" for name, count in report["rows"].items() if isinstance(count, int)
    )
    parts = [
        f"backbone {report['backbone']}",
        f"tune {report['tune']}",
        " ".join(origin_of_test_rows(report)),
    ]
    return [*parts, f"rows: {counts}"] if counts else parts


def duration(seconds: float) -> str:
    """Format seconds for people.

    >>> [duration(value) for value in (0, 0.004, 0.25, 7.25, 72, 754, 7260)]
    ['0 s', '4 ms', '0.25 s', '7.2 s', '72 s', '12 min 34 s', '2 h 1 min']
    """
    if seconds < 0.0005:
        return "0 s"
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{round(whole / 60) // 60} h {round(whole / 60) % 60} min"


def timing_facts(timing: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of what was measured, with units, and of what it was measured with."""
    facts = [
        (name, duration(timing[key]))
        for key, name in _PHASES.items()
        if isinstance(timing.get(key), int | float)
    ]
    measured = [timing[key] for key in _PHASES if isinstance(timing.get(key), int | float)]
    if len(measured) > 1:
        facts.append(("Total", duration(sum(measured))))
    parts = [
        f"{name} {duration(timing[key])}" for key, name in _BASELINES.items() if timing.get(key)
    ]
    # The phase takes no time where the quick model has paid for it, so the parts say more.
    facts = [
        (name, ", ".join(parts) if parts and name == _PHASES["baselines"] else value)
        for name, value in facts
    ]
    if parts and "baselines" not in timing:
        facts.append((_PHASES["baselines"], ", ".join(parts)))
    if timing.get("messages_per_s"):
        name = "Training and scoring" if "train" in timing else "Scoring"
        facts.append((f"{name}, all rows", f"{timing['messages_per_s']:,.0f} messages per second"))
    known = {*_PHASES, *_BASELINES, "messages_per_s", "reasons"}
    reasons = timing.get("reasons") or {}
    for key, value in timing.items():
        if key in known:
            continue
        if isinstance(value, Mapping):  # such as dtype with its reason
            reason, value = value.get("reason", ""), value.get(key, "")
        else:
            reason = reasons.get(key, "")
        if isinstance(value, float):
            value = duration(value)
        facts.append(
            (key.replace("_", " ").capitalize(), f"{value} ({reason})" if reason else str(value))
        )
    return facts
