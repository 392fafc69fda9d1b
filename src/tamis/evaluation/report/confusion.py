"""The most frequent confusions, as rows and as a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_CONFUSIONS = 15


def confusions(
    counts: Sequence[Sequence[int]], classes: Sequence[str], *, most: int = MOST_CONFUSIONS
) -> list[dict[str, Any]]:
    """The most frequent confusions: label, predicted, rows, and share of the rows of the label.

    Sorted by number of rows, then by share, then in the order of the classes.

    Args:
        counts: (K, K) confusion matrix; rows are labels, columns are predictions.
        classes: K labels.
        most: maximum number of pairs; pairs without rows are omitted.
    """
    found: list[dict[str, Any]] = [
        {
            "label": classes[i],
            "predicted": classes[j],
            "rows": int(row[j]),
            "share": row[j] / sum(row),
        }
        for i, row in enumerate(counts)
        for j in range(len(classes))
        if i != j and row[j]
    ]
    return sorted(found, key=lambda pair: (-pair["rows"], -pair["share"]))[:most]


def confusions_sentence(pairs: Sequence[Mapping[str, Any]], *, most: int = 3) -> str:
    """Describe the first pairs; empty if there are none."""
    shown = [
        f"{pair['label']!r} predicted as {pair['predicted']!r} ({pair['rows']:,} rows)"
        for pair in pairs[:most]
    ]
    return f"Most frequent confusions: {', '.join(shown)}." if shown else ""
