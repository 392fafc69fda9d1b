"""Metrics of a classifier with confidence intervals, and McNemar's test between two classifiers.

All metrics of tamis are defined here. Thresholds are chosen in decision/thresholds.py; calibration
is defined in decision/calibration.py. Sources: Wilson 1927; Efron & Tibshirani 1993
(percentile bootstrap); McNemar 1947 (exact form); Gorodkin 2004 (MCC for K classes). Checked
against scikit-learn and slow reference definitions in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import ConfigError, DataError
from tamis.evaluation.bootstrap import Rows, confusion_counts, resampled, weighted_figures

Floats = NDArray[np.float64]
METRICS = (
    "accuracy",
    "balanced_accuracy",
    "recall",
    "precision",
    "f1",
    "mcc",
    "average_precision",
    "roc_auc",
    "false_positive_rate",
    "ece",
    "brier",
)
# Metrics for which resamples of a perfect result (or one with only errors) have no width: see
# _interval.
_UNIT_METRICS = (
    "balanced_accuracy",
    "recall",
    "precision",
    "f1",
    "mcc",
    "average_precision",
    "roc_auc",
)


def predictions(
    probabilities: NDArray[Any],
    classes: Sequence[str],
    *,
    positive: str | None,
    threshold: float | None,
) -> NDArray[np.int64]:
    """The predicted class of each row, as an index into `classes`.

    Two classes with a positive class: positive if P(positive) >= threshold (0.5 if None).
    Otherwise: the most probable class.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if positive is None or len(classes) != 2:
        best: NDArray[np.int64] = probabilities.argmax(axis=1)
        return best
    index = _positive_index(classes, positive)
    flagged = probabilities[:, index] >= (0.5 if threshold is None else threshold)
    chosen: NDArray[np.int64] = np.where(flagged, index, 1 - index).astype(np.int64)
    return chosen


def figures(
    labels: Sequence[str],
    probabilities: NDArray[Any],
    classes: Sequence[str],
    *,
    positive: str | None,
    threshold: float | None,
    bootstrap: int = 1000,
    seed: int = 42,
) -> dict[str, Any]:
    """All metrics of one part of the data, JSON-safe: `test` and `validation` of report.json.

    Shapes (N rows, K classes): `labels` N names from `classes`; `probabilities` (N, K), rows sum to
    1, columns in the order of `classes`.

    Two classes with a positive class: recall, precision, f1, average_precision and roc_auc are
    those of the positive class; a row is predicted as positive if P(positive) >= threshold (0.5 if
    None). Otherwise: the most probable class is predicted, and the metrics are macro averages as in
    scikit-learn (precision and recall over the classes that occur in labels or predictions, 0 if
    undefined; average_precision and roc_auc over the classes that occur, each against the others);
    false_positive_rate is None.

    ece: 15 bins of equal width, of P(positive) for two classes, otherwise of the highest
    probability (decision/calibration.py). brier: mean of (P(positive) - is positive)^2, in [0, 1];
    for K classes, the mean over rows of the sum of squared differences over classes (the original
    definition of Brier), in [0, 2]. confusion: counts, rows are labels and columns are predictions,
    both in the order of `classes`. per_class: one row per class with label, n, predicted, recall,
    precision, f1, average_precision, roc_auc. A metric is None if its class is absent, and so is
    the precision of a class that is never predicted (0 / 0). mcc is 0 for a constant prediction
    (its limit) and None if the labels have only one class.

    ci95: [low, high] per metric. Wilson's interval for proportions (accuracy; with a positive class
    also recall, precision and false_positive_rate). For the other metrics, the percentile interval
    of `bootstrap` seeded resamples within each class, so that each resample contains all classes.
    All resamples of a perfect result are perfect: if the bootstrap interval has no width at 1 (or
    0), the open end is Wilson's bound for m of m (0 of m), where m is the number of rows of the
    rarest class.

    Raises:
        DataError: there are no rows, shapes do not match, a label is unknown, or a row of
            `probabilities` is not a probability distribution.
        ConfigError: `positive` is not one of two classes, or `bootstrap` is below 1.
    """
    if bootstrap < 1:
        raise ConfigError(f"bootstrap: expected at least 1 resample, got {bootstrap}")
    rows = _rows(labels, probabilities, classes, positive, threshold)
    point = {
        name: _plain(value[0])
        for name, value in weighted_figures(rows, np.ones((1, len(rows.labels)))).items()
    }
    counts = confusion_counts(rows)
    result: dict[str, Any] = {"n": len(rows.labels)}
    result.update({name: point[name] for name in METRICS})
    result["confusion"] = counts.tolist()
    result["per_class"] = _per_class(rows, classes)
    draws = resampled(rows, bootstrap, seed)
    rarest = int(counts.sum(axis=1)[counts.sum(axis=1) > 0].min())
    proportions = _proportions(counts, rows.positive)
    intervals: dict[str, list[float] | None] = dict.fromkeys(METRICS)
    for name in METRICS:
        value = point[name]
        if value is not None:
            wilsons = proportions.get(name)
            intervals[name] = (
                list(wilson(*wilsons)) if wilsons else _interval(name, value, draws[name], rarest)
            )
    result["ci95"] = intervals
    return result


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion of `k` successes in `n` rows.

    Raises:
        DataError: `k` is not between 0 and `n`, or `n` is 0.

    >>> [round(bound, 4) for bound in wilson(9, 10)]
    [0.5958, 0.9821]
    """
    if n < 1 or not 0 <= k <= n:
        raise DataError(f"proportion: expected 0 <= k <= n and n >= 1, got k = {k}, n = {n}")
    from scipy.stats import binomtest

    interval = binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(correct_a: NDArray[Any], correct_b: NDArray[Any]) -> dict[str, Any]:
    """McNemar's exact test: does one of two classifiers make more errors on the same rows?

    `correct_a` and `correct_b` (N,) bool: whether each row is correct; a is the model, b the other
    classifier. Returns the number of rows that are wrong only for the model, the number that are
    wrong only for the other, and the two-sided binomial p-value (1 if they never differ).

    Raises:
        DataError: the two lengths differ.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(
            f"McNemar's test: expected two arrays of shape (N,), got {a.shape} and {b.shape}"
        )
    only_a, only_b = int((~a & b).sum()), int((a & ~b).sum())
    p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return {"model_only_wrong": only_a, "other_only_wrong": only_b, "p_value": p_value}


def collapse_warnings(
    labels: Sequence[str],
    probabilities: NDArray[Any],
    classes: Sequence[str],
    *,
    positive: str | None,
    threshold: float | None,
) -> list[str]:
    """Warnings about a model that has collapsed; empty if it has not.

    Detected: a class that is never predicted although it occurs, the same prediction for all rows,
    the same probabilities for all rows, a recall of 0, and an accuracy that is not better than that
    of the majority class.

    Raises:
        DataError, ConfigError: as `figures`.
    """
    rows = _rows(labels, probabilities, classes, positive, threshold)
    counts = confusion_counts(rows)
    occurring, predicted = counts.sum(axis=1), counts.sum(axis=0)
    found = []
    if len(rows.labels) > 1 and float(np.ptp(rows.probabilities, axis=0).max()) < 1e-6:
        found.append(
            "The output is constant: all rows have the same probabilities, so the model does not "
            "use the text."
        )
    if int((predicted > 0).sum()) == 1 and int((occurring > 0).sum()) > 1:
        found.append(f"The model predicts {classes[int(predicted.argmax())]!r} for all texts.")
    never = [
        f"{name!r} ({count} rows)"
        for name, count, hit in zip(classes, occurring, predicted, strict=True)
        if count and not hit
    ]
    if never:
        shown = ", ".join(never[:10]) + (f" and {len(never) - 10} more" if len(never) > 10 else "")
        found.append(f"Classes that occur but are never predicted: {shown}.")
    if (
        rows.positive is not None
        and occurring[rows.positive]
        and not counts[rows.positive, rows.positive]
    ):
        found.append(
            f"Recall is 0: none of the {occurring[rows.positive]} {classes[rows.positive]!r} rows "
            "is found. The accuracy does not show this."
        )
    right, commonest = int(np.trace(counts)), int(occurring.max())
    if int((occurring > 0).sum()) > 1 and right <= commonest:
        how = "the same as" if right == commonest else "below"
        found.append(
            f"The accuracy of {100 * right / len(rows.labels):.1f} % is {how} that of always "
            f"predicting {classes[int(occurring.argmax())]!r} "
            f"({100 * commonest / len(rows.labels):.1f} %)."
        )
    return found


def _positive_index(classes: Sequence[str], positive: str) -> int:
    if positive not in classes:
        raise ConfigError(f"positive: expected one of {list(classes)}, got {positive!r}")
    return list(classes).index(positive)


def _rows(
    labels: Sequence[str],
    probabilities: NDArray[Any],
    classes: Sequence[str],
    positive: str | None,
    threshold: float | None,
) -> Rows:
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise DataError(f"expected at least two different classes, got {list(classes)}")
    if len(labels) == 0 or probabilities.shape != (len(labels), len(classes)):
        raise DataError(
            "expected at least one row and probabilities of shape (rows, classes) = "
            f"({len(labels)}, {len(classes)}), got {probabilities.shape}"
        )
    wrong = ~np.isfinite(probabilities).all(axis=1) | (probabilities < 0).any(axis=1)
    wrong |= np.abs(probabilities.sum(axis=1) - 1) > 1e-3
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"row {row}: expected a probability distribution (finite, >= 0, sum 1), got "
            f"{probabilities[row].tolist()}; check the output of the model"
        )
    index = {name: position for position, name in enumerate(classes)}
    for row, label in enumerate(labels):
        if label not in index:
            raise DataError(
                f"row {row}: expected a label from {list(classes)}, got {label!r}; use rows with "
                "the labels of the model"
            )
    binary = positive is not None and len(classes) == 2
    predicted = predictions(probabilities, classes, positive=positive, threshold=threshold)
    return Rows(
        labels=np.array([index[label] for label in labels], dtype=np.int64),
        predicted=predicted,
        probabilities=probabilities,
        positive=_positive_index(classes, positive) if binary and positive is not None else None,
    )


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _proportions(counts: NDArray[np.int64], positive: int | None) -> dict[str, tuple[int, int]]:
    result = {"accuracy": (int(np.trace(counts)), int(counts.sum()))}
    if positive is not None:
        negative = 1 - positive
        result["recall"] = (int(counts[positive, positive]), int(counts[positive].sum()))
        result["precision"] = (int(counts[positive, positive]), int(counts[:, positive].sum()))
        result["false_positive_rate"] = (
            int(counts[negative, positive]),
            int(counts[negative].sum()),
        )
    return result


def _interval(name: str, point: float, draws: Floats, rarest: int) -> list[float]:
    low, high = np.percentile(draws, [2.5, 97.5]).tolist()
    if name in _UNIT_METRICS and low == high:
        if point == 1.0:
            low = wilson(rarest, rarest)[0]
        elif point == 0.0 and name == "f1":
            high = wilson(0, rarest)[1]
    return [low, high]


def _per_class(rows: Rows, classes: Sequence[str]) -> list[dict[str, Any]]:
    ones = np.ones((1, len(rows.labels)))
    table = []
    for index, name in enumerate(classes):
        # Binary metrics of one class against the others, with unchanged predictions.
        own = Rows(rows.labels, rows.predicted, rows.probabilities, index)
        figure = {key: _plain(value[0]) for key, value in weighted_figures(own, ones).items()}
        table.append(
            {
                "label": name,
                "n": int((rows.labels == index).sum()),
                "predicted": int((rows.predicted == index).sum()),
                **{
                    key: figure[key]
                    for key in ("recall", "precision", "f1", "average_precision", "roc_auc")
                },
            }
        )
    return table
