"""Figures of a recipe over the folds of its training rows: what they are on average, and how far
they spread from fold to fold.

One held-out part of a small table gives one lucky or unlucky number. Each fold's rows are judged by
a model trained without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.evaluation.metrics import figures

SHOWN = {
    "average_precision": "average precision",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "accuracy": "accuracy",
}


def fold_figures(
    labels: Sequence[str],
    probabilities: NDArray[Any],
    parts: NDArray[np.int64],
    classes: Sequence[str],
    *,
    positive: str | None,
    threshold: float | None,
) -> dict[str, Any]:
    """Mean, standard deviation and each fold's value of the figures in SHOWN, JSON-safe.

    Args:
        labels: N labels.
        probabilities: (N, K), each row's from a model that did not see it.
        parts: (N,) the fold of each row.
        classes: K labels.
        positive: of two classes the one that F1 and average precision are about; else macro
            averages.
        threshold: of the positive class; it was chosen on these rows, so that F1 is a little too
            good, average precision is not.

    A figure that a fold cannot have (a class is absent from it) is left out of mean and deviation;
    the deviation of fewer than two is None.
    """
    names = np.asarray(labels)
    found = [
        figures(
            names[parts == part].tolist(),
            probabilities[parts == part],
            classes,
            positive=positive,
            threshold=threshold,
            bootstrap=1,
        )
        for part in np.unique(parts)
    ]
    return {
        "folds": len(found),
        "rows": len(names),
        "figures": {key: _spread([fold[key] for fold in found]) for key in SHOWN},
    }


def folds_sentence(found: Mapping[str, Any] | None) -> str:
    """The figures in words; empty where there are none."""
    if not found:
        return ""
    shown = []
    for key, name in SHOWN.items():
        spread = found["figures"][key]
        if spread["mean"] is not None:
            deviation = "" if spread["sd"] is None else f" ± {spread['sd']:.3f}"
            shown.append(f"{name} {spread['mean']:.3f}{deviation}")
    rows = (
        f"{found['folds']} folds of the {found['rows']:,} training rows, each judged by a model "
        "trained on the others"
    )
    return f"Over {rows}: {', '.join(shown)}."


def _spread(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "each": values,
    }
