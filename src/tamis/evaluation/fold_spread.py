"""Cross-validation metrics of a recipe: mean and standard deviation over the folds.

The metrics on a single held-out part of a small table depend strongly on chance. Here, the rows of
each fold are scored by a model that was not trained on them.
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
    """Mean, standard deviation and value per fold of the metrics in SHOWN, JSON-safe.

    Args:
        labels: N labels.
        probabilities: (N, K) out-of-fold probabilities.
        parts: (N,) fold of each row.
        classes: K labels.
        positive: positive class of two classes, for F1 and average precision; else macro averages.
        threshold: threshold of the positive class. It was chosen on these rows, so F1 is slightly
            optimistic; average precision is not affected.

    If a metric is undefined in a fold (a class is absent), the fold is not counted. The standard
    deviation of fewer than two values is None.
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
    """Describe the metrics; empty if there are none."""
    if not found:
        return ""
    shown = []
    for key, name in SHOWN.items():
        spread = found["figures"][key]
        if spread["mean"] is not None:
            deviation = "" if spread["sd"] is None else f" ± {spread['sd']:.3f}"
            shown.append(f"{name} {spread['mean']:.3f}{deviation}")
    rows = (
        f"{found['folds']}-fold cross-validation on the {found['rows']:,} training rows (mean ± "
        "standard deviation over the folds)"
    )
    return f"{rows}: {', '.join(shown)}."


def _spread(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "each": values,
    }
