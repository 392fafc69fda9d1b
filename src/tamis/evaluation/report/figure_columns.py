"""The metrics that a report shows, their headings, and their numbers as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamis.data.catalog import SOUGHT_LABELS

# (key, heading, shown as a percentage); accuracy comes last, because it is misleading for
# imbalanced classes.
_BINARY = (
    ("f1", "F1", False),
    ("recall", "Recall", True),
    ("false_positive_rate", "False positive rate ({blocked})", True),
    ("precision", "Precision", True),
    ("average_precision", "Average precision", False),
    ("mcc", "MCC", False),
    ("ece", "ECE", False),
    ("brier", "Brier", False),
    ("accuracy", "Accuracy", True),
)
_MULTI = (
    ("f1", "F1 (macro)", False),
    ("balanced_accuracy", "Balanced accuracy", True),
    ("mcc", "MCC", False),
    ("precision", "Precision (macro)", True),
    ("average_precision", "Average precision (macro)", False),
    ("ece", "ECE", False),
    ("brier", "Brier", False),
    ("accuracy", "Accuracy", True),
)
NAMES = {"tfidf": "TF-IDF + logistic regression", "majority": "Majority class"}
"""Baselines by their key in report.json."""


def figure_text(figures: Mapping[str, Any] | None, key: str, percent: bool) -> tuple[str, str]:
    """Format a metric and its 95 % interval; a dash if it is undefined."""
    value = figures.get(key) if figures else None
    if value is None or figures is None:
        return "-", ""
    interval = (figures.get("ci95") or {}).get(key)

    def shown(number: float) -> str:
        if not percent:
            return f"{number:.3f}"
        return f"{100 * number:.2f}" if 0 < number < 0.1 else f"{100 * number:.1f}"

    unit = " %" if percent else ""
    return shown(
        value
    ) + unit, f"{shown(interval[0])} to {shown(interval[1])}{unit}" if interval else ""


def columns(report: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """The metrics to show, in order: key, heading, whether it is a percentage."""
    binary = report["positive"] is not None and len(report["classes"]) == 2
    blocked = blocked_words(report)
    return [
        (key, name.format(blocked=blocked), percent)
        for key, name, percent in (_BINARY if binary else _MULTI)
    ]


def blocked_words(report: Mapping[str, Any]) -> str:
    """What a false positive is: `ham blocked` for a filter, otherwise `calm labelled urgent`."""
    negative = negative_name(report)
    if str(report["positive"]).lower() in SOUGHT_LABELS:
        return f"{negative} blocked"
    return f"{negative} labelled {report['positive']}"


def negative_name(report: Mapping[str, Any]) -> str:
    """The negative class of two classes; empty for K classes."""
    others = [name for name in report["classes"] if name != report["positive"]]
    return str(others[0]) if len(others) == 1 else ""
