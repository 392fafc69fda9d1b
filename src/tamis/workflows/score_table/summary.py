"""The counts of a scored table: of a part, and of the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tamis.workflows.score_table.parts import Part
from tamis.workflows.score_table.scores import Scores

COUNTED = ("rows", "scored", "bad_rows", "empty_texts", "texts_computed")


def part_counts(part: Part, scores: Scores) -> dict[str, Any]:
    """Return the counts of a part."""
    labels, verdicts = Counter[str](), Counter[str]()
    for text, count in Counter(part.texts).items():
        label, verdict, _ = scores[text]
        labels[label] += count
        verdicts[verdict] += count
    return {
        "rows": part.rows,
        "scored": len(part.texts),
        "bad_rows": len(part.bad),
        "empty_texts": part.empty,
        "texts_computed": len(part.new),
        "labels": dict(labels),
        "verdicts": dict(verdicts),
    }


class Totals:
    """Counts of all parts so far."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self.counts: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.parts = 0

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add the counts of a part."""
        self.parts += 1
        self.counts.update({name: int(counts[name]) for name in COUNTED})
        self.labels.update(counts["labels"])
        self.verdicts.update(counts["verdicts"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; labels and verdicts by name, because parts end in any order."""
        return {
            **{name: self.counts[name] for name in COUNTED},
            "parts": self.parts,
            "labels": dict(sorted(self.labels.items())),
            "verdicts": dict(sorted(self.verdicts.items())),
        }
