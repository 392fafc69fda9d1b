"""The scores that the slider of report.html counts with.

The page holds two sorted lists of scores. For two classes with a positive class these are
P(positive) of the positive and of the negative rows, and the slider is the threshold. For K classes
these are the highest probabilities of the rows with the right and with the wrong label, and the
slider is the probability below which the verdict is unsure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.evaluation.metrics import predictions
from tamis.evaluation.report.plain_summary import is_filter, kind_of
from tamis.evaluation.report.report import Part

MOST_SCORES = 20_000
"""Scores in a page, about 9 bytes each, half of them for each list; of more rows, every n-th of the
sorted scores is kept."""
_DECIMALS = 6


def live_scores(
    part: Part | None, report: Mapping[str, Any], *, most: int = MOST_SCORES
) -> dict[str, Any] | None:
    """Return the scores of one part for the slider; None without rows.

    Keys: `kind` (`threshold` or `confidence`), `start` (where the slider begins), `upper` and
    `lower` (sorted scores), `rows` (the rows that the two lists stand for), `names` (of the four
    counts: upper list from the slider on, below it, lower list from the slider on, below it),
    `positive`, `negative`.
    """
    if part is None or not len(part.labels):
        return None
    scores = np.asarray(part.probabilities, dtype=np.float64)
    classes, positive = report["classes"], report["positive"]
    if positive is not None and len(classes) == 2:
        place = classes.index(positive)
        values = scores[:, place]
        first = np.array([label == positive for label in part.labels])
        start = 0.5 if report["threshold"] is None else float(report["threshold"])
        kind, names = "threshold", _names(report, str(positive), str(classes[1 - place]))
    else:
        values = scores.max(axis=1)
        chosen = predictions(scores, classes, positive=None, threshold=None)
        first = np.array(
            [classes[index] == label for index, label in zip(chosen, part.labels, strict=True)]
        )
        start = float((report.get("unsure") or {}).get("value", 0.0))
        kind = "confidence"
        names = ["right label", "right, but unsure", "wrong label", "wrong, but unsure"]
    return {
        "kind": kind,
        "start": start,
        "upper": _kept(values[first], most // 2, start),
        "lower": _kept(values[~first], most // 2, start),
        "rows": [int(first.sum()), int((~first).sum())],
        "names": names,
        "positive": None if positive is None else str(positive),
    }


def _names(report: Mapping[str, Any], positive: str, negative: str) -> list[str]:
    if kind_of(report) == "equal":
        return [
            f"{positive!r}, right",
            f"{positive!r} labelled {negative!r}",
            f"{negative!r} labelled {positive!r}",
            f"{negative!r}, right",
        ]
    stopped = "blocked" if is_filter(report) else f"flagged as {positive!r}"
    return [
        f"{positive!r} caught",
        f"{positive!r} missed",
        f"{negative!r} {stopped}",
        f"{negative!r} not {stopped}",
    ]


def _kept(values: NDArray[np.float64], most: int, start: float) -> list[float]:
    """At most `most` of the sorted scores, every n-th of them, with fewer decimals. Rounding
    moves no score to the other side of `start`, so that the first counts are those of the report.
    """
    every = max(1, -(-len(values) // most))
    ordered = np.sort(values)[every // 2 :: every]
    rounded = np.round(ordered, _DECIMALS)
    safe = (rounded >= start) == (ordered >= start)
    return [float(value) for value in np.where(safe, rounded, ordered)]
