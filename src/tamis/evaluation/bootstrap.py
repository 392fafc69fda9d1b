"""The metrics of metrics.py for many weightings of the same rows at once, for a fast bootstrap.

A weighting gives the number of times that each row counts. All ones give the metric itself, so
metric and resamples have the same definition. Scores are sorted once; each weighting then needs a
few sums. Shapes: N rows, K classes, B weightings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.decision.calibration import BINS, bin_index, calibration_view

Floats = NDArray[np.float64]
CHUNK_ELEMENTS = 1_000_000  # elements of a (B, N) block: about 8 MB in float64


@dataclass(frozen=True)
class Rows:
    """N rows: class indices `labels` and `predicted` (N,), `probabilities` (N, K), and the index of
    the positive class or None.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: Floats
    positive: int | None


def confusion_counts(rows: Rows) -> NDArray[np.int64]:
    """(K, K) counts: rows are labels, columns are predictions."""
    k = rows.probabilities.shape[1]
    return (
        np.bincount(rows.labels * k + rows.predicted, minlength=k * k)
        .reshape(k, k)
        .astype(np.int64)
    )


def resampled(rows: Rows, resamples: int, seed: int) -> dict[str, Floats]:
    """All metrics on `resamples` bootstrap samples within each class: (resamples,) values per
    metric.
    """
    n = len(rows.labels)
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(rows.labels == label) for label in np.unique(rows.labels)]
    step = max(1, CHUNK_ELEMENTS // n)
    parts = []
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        weights = np.empty((count, n))
        for rows_of_class in members:
            size = len(rows_of_class)
            drawn = generator.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
            weights[:, rows_of_class] = np.bincount(drawn.ravel(), minlength=count * size).reshape(
                count, size
            )
        parts.append(weighted_figures(rows, weights))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def weighted_figures(rows: Rows, weights: Floats) -> dict[str, Floats]:
    """All metrics for each of the weightings `weights` (B, N); NaN if a metric is undefined."""
    k = rows.probabilities.shape[1]
    total = weights.sum(axis=1)
    each = np.eye(k)
    hit = each[rows.labels] * (rows.labels == rows.predicted)[:, None]  # (N, K)
    true_positives = weights @ hit  # (B, K)
    occurring, predicted = weights @ each[rows.labels], weights @ each[rows.predicted]
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is NaN, that is undefined
        recall, precision = true_positives / occurring, true_positives / predicted
        f1 = 2 * true_positives / (occurring + predicted)
        right = true_positives.sum(axis=1)
        result = {
            "accuracy": right / total,
            "balanced_accuracy": _mean_of_defined(recall, occurring),
            "mcc": _mcc(right, occurring, predicted, total),
            "false_positive_rate": np.full(len(weights), np.nan),
        }
        if rows.positive is not None:
            at = rows.positive
            result["recall"], result["precision"] = recall[:, at], precision[:, at]
            # F1 is undefined without positive rows.
            result["f1"] = np.where(occurring[:, at] > 0, f1[:, at], np.nan)
            false_positives = predicted[:, at] - true_positives[:, at]
            result["false_positive_rate"] = false_positives / (total - occurring[:, at])
            result["average_precision"], result["roc_auc"] = _ranking(
                rows.probabilities[:, at], rows.labels == at, _by_row(weights)
            )
        else:
            used = (occurring + predicted) > 0
            for name, values in (("recall", recall), ("precision", precision), ("f1", f1)):
                result[name] = np.where(used, np.nan_to_num(values), 0).sum(axis=1) / used.sum(
                    axis=1
                )
            result["average_precision"], result["roc_auc"] = _macro_ranking(
                rows, weights, occurring
            )
    view, hits = calibration_view(rows.probabilities, rows.labels, rows.positive)
    gaps = np.eye(BINS)[bin_index(view)] * (view - hits)[:, None]  # (N, BINS)
    result["ece"] = np.abs(weights @ gaps).sum(axis=1) / total
    squares = (
        (view - hits) ** 2
        if rows.positive is not None
        else ((rows.probabilities - each[rows.labels]) ** 2).sum(axis=1)
    )
    result["brier"] = weights @ squares / total
    return result


def _mean_of_defined(values: Floats, occurring: Floats) -> Floats:
    """Mean over the classes that occur; NaN if fewer than two occur."""
    present = occurring > 0
    mean: Floats = np.where(present, np.nan_to_num(values), 0).sum(axis=1) / present.sum(axis=1)
    return np.where(present.sum(axis=1) > 1, mean, np.nan)


def _mcc(right: Floats, occurring: Floats, predicted: Floats, total: Floats) -> Floats:
    covariance = right * total - (occurring * predicted).sum(axis=1)
    spread_labels = total**2 - (occurring**2).sum(axis=1)
    spread_predicted = total**2 - (predicted**2).sum(axis=1)
    value = np.where(
        spread_predicted > 0, covariance / np.sqrt(spread_labels * spread_predicted), 0.0
    )
    return np.where(spread_labels > 0, value, np.nan)


def _by_row(weights: Floats) -> NDArray[np.float32]:
    """Weights as (N, B) in float32, for fast selection of rows; counts are integers, exact up to
    2^24.
    """
    return np.ascontiguousarray(weights.T, dtype=np.float32)


def _macro_ranking(rows: Rows, weights: Floats, occurring: Floats) -> tuple[Floats, Floats]:
    k = rows.probabilities.shape[1]
    by_row = _by_row(weights)
    precision, area = np.full((len(weights), k), np.nan), np.full((len(weights), k), np.nan)
    for index in range(k):
        if occurring[:, index].any():
            precision[:, index], area[:, index] = _ranking(
                rows.probabilities[:, index], rows.labels == index, by_row
            )
    return _mean_of_defined(precision, occurring), _mean_of_defined(area, occurring)


def _ranking(
    scores: Floats, is_positive: NDArray[np.bool_], by_row: NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """Average precision and area under the ROC curve, (B,) each, of scores (N,) with weights (N,
    B).

    Both are means over the P positive rows: of the precision at the score of the row, and of the
    fraction of negatives with lower scores (ties count one half). Therefore, sums are only needed
    between the positions of the positives.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, places = -scores[order], np.flatnonzero(is_positive[order])
    first = np.searchsorted(
        ranked, ranked[places], side="left"
    )  # start of the ties of each positive
    last = np.searchsorted(ranked, ranked[places], side="right")  # end of the ties
    edges = np.unique(np.concatenate([[0], first, last]))
    above = np.zeros(
        (len(edges), by_row.shape[1])
    )  # (edges, B): weight of all rows before each edge
    starts = edges[:-1] if edges[-1] == len(scores) else edges
    sums = np.add.reduceat(by_row[order], starts, axis=0)
    above[1:] = np.cumsum(sums[: len(edges) - 1], axis=0, dtype=np.float64)
    own = by_row[order[places]].astype(np.float64)  # (P, B)
    found = np.concatenate(
        [np.zeros((1, own.shape[1])), np.cumsum(own, axis=0)]
    )  # weight of the positives before each position
    all_before, all_upto = above[np.searchsorted(edges, first)], above[np.searchsorted(edges, last)]
    found_before, found_upto = (
        found[np.searchsorted(places, first)],
        found[np.searchsorted(places, last)],
    )
    positives = own.sum(axis=0)
    negatives = by_row.sum(axis=0, dtype=np.float64) - positives
    # If the weight up to a row is 0, the weight of the row is 0 too, and it adds nothing.
    precision_at = np.where(all_upto > 0, found_upto / all_upto, 0.0)
    average_precision = (own * precision_at).sum(axis=0) / positives
    negatives_above = ((all_upto - found_upto) + (all_before - found_before)) / 2
    area = 1 - (own * negatives_above).sum(axis=0) / (positives * negatives)
    # Without negatives, all orders are perfect: the metrics are undefined.
    return np.where(negatives > 0, average_precision, np.nan), np.where(negatives > 0, area, np.nan)
