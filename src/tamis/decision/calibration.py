"""Calibration: temperature scaling, with a bias if there are enough rows, reliability bins, and the
expected calibration error.

The whole package uses these definitions. Sources: Guo et al. 2017, "On Calibration of Modern Neural
Networks" (temperature, ECE with 15 equal-width bins); Platt 1999, "Probabilistic outputs for
support vector machines" (slope and bias for two classes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError

BINS = 15
TEMPERATURE_BOUNDS = (0.05, 20.0)
# Below this many rows, or without a single mistake, the likelihood says nothing about how confident
# a *new* row may be.
MIN_ROWS = 20
# A bias too is fitted from so many rows with so many mistakes on: with fewer its error is as large
# as what it mends.
BIAS_ROWS, BIAS_MISTAKES = 1000, 10
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A temperature and its effect on the rows it was fitted on; `notes` are sentences for the
    user.

    `bias` is added to the log-odds of the second of two classes after the division; it is 0 for
    more classes.
    """

    temperature: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    notes: list[str]
    bias: float = 0.0


@dataclass(frozen=True)
class Reliability:
    """Rows by predicted probability, per bin: edges, number of rows, mean prediction and observed
    share (NaN for an empty bin).
    """

    low: Floats
    high: Floats
    rows: NDArray[np.int64]
    predicted: Floats
    observed: Floats


def softmax(logits: NDArray[Any]) -> Floats:
    """Return (N, K) float64 probabilities of (N, K) logits, without overflow."""
    logits = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


def bin_index(predicted: NDArray[Any], bins: int = BINS) -> NDArray[np.int64]:
    """Return the bin of each prediction in [0, 1]: [i / bins, (i + 1) / bins), the last one closed
    at both ends.
    """
    return np.clip(np.floor(np.asarray(predicted, dtype=np.float64) * bins), 0, bins - 1).astype(
        np.int64
    )


def calibration_view(
    probabilities: Floats, labels: NDArray[Any], positive: int | None
) -> tuple[Floats, Floats]:
    """Return (N,) predictions and (N,) outcomes (0 or 1) for calibration.

    With a positive class (an index) these are P(positive) and "is positive"; otherwise the
    confidence of the most probable class and "is correct". `probabilities` (N, K), `labels` (N,)
    class indices.
    """
    if positive is not None:
        return probabilities[:, positive], (labels == positive).astype(np.float64)
    return probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(np.float64)


def reliability(predicted: NDArray[Any], hits: NDArray[Any], *, bins: int = BINS) -> Reliability:
    """Return the observed share per bin of the (N,) predictions: the data of a reliability plot."""
    index = bin_index(predicted, bins)
    rows = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):  # an empty bin has no mean: NaN
        mean = np.bincount(index, weights=predicted, minlength=bins) / rows
        observed = (
            np.bincount(index, weights=np.asarray(hits, dtype=np.float64), minlength=bins) / rows
        )
    edges = np.arange(bins + 1) / bins
    return Reliability(edges[:-1], edges[1:], rows.astype(np.int64), mean, observed)


def expected_calibration_error(
    predicted: NDArray[Any], hits: NDArray[Any], *, bins: int = BINS
) -> float:
    """Return the mean over rows of |observed share - mean prediction| of the bin of the row
    (equal-width bins), in [0, 1].
    """
    gaps = np.bincount(
        bin_index(predicted, bins), weights=np.asarray(predicted) - np.asarray(hits), minlength=bins
    )
    return float(np.abs(gaps).sum() / len(predicted))


def negative_log_likelihood(
    logits: NDArray[Any], labels: NDArray[Any], temperature: float = 1.0
) -> float:
    """Return the mean -log P(label) in nats of softmax(logits / temperature); `labels` (N,) class
    indices.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    right = scaled[np.arange(len(labels)), labels]
    return float((np.log(np.exp(scaled).sum(axis=1)) - right).mean())


def calibrate(logits: NDArray[Any], labels: NDArray[Any], *, bias: bool = False) -> Calibration:
    """Fit a temperature on held-out rows, and optionally a bias.

    Shapes (N held-out rows): `logits` (N, K), `labels` (N,) class indices. The temperature
    minimizes the mean negative log-likelihood over [0.05, 20]; the loss is convex in 1 / T, so a
    bounded search in log T finds the only minimum. The temperature stays 1 with fewer than 20 rows,
    if no row is wrong (the likelihood then grows with the confidence), and if the minimum is at a
    bound. ECE is that of the most probable class for K > 2, and of P(last class) for two classes.
    With `bias`, two classes, at least 1,000 rows and 10 errors, temperature and bias are fitted
    together; then mean probability and share of the rows are equal.

    Raises:
        DataError: no rows, different lengths, a label outside 0..K-1, or logits that are not
            finite.
    """
    from scipy.optimize import minimize_scalar

    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    _check(logits, labels)
    before = negative_log_likelihood(logits, labels)
    temperature, notes = 1.0, []
    if len(labels) < MIN_ROWS:
        notes.append(
            f"The calibration temperature is 1: {len(labels)} held-out rows are too few to fit it "
            f"(at least {MIN_ROWS} are needed)."
        )
    elif bool((logits.argmax(axis=1) == labels).all()):
        notes.append(
            "The calibration temperature is 1: it cannot be fitted without errors on held-out rows."
        )
    else:
        low, high = np.log(TEMPERATURE_BOUNDS)
        found = minimize_scalar(
            lambda t: negative_log_likelihood(logits, labels, float(np.exp(t))),
            bounds=(low, high),
            method="bounded",
            options={"xatol": 1e-8},
        )
        if min(found.x - low, high - found.x) < 1e-3:
            notes.append(
                "The calibration temperature is 1: the optimum is at the limit "
                f"{np.exp(found.x):.3g}, so the held-out rows do not determine it."
            )
        elif found.fun <= before:
            temperature = float(np.exp(found.x))
    shift = 0.0
    mistakes = int((logits.argmax(axis=1) != labels).sum())
    if (
        bias
        and temperature != 1.0
        and logits.shape[1] == 2
        and len(labels) >= BIAS_ROWS
        and mistakes >= BIAS_MISTAKES
    ):
        temperature, shift = _with_bias(logits[:, 1] - logits[:, 0], labels == 1, temperature)
    calibrated = logits / temperature + np.array([0.0, shift]) if shift else logits / temperature
    return Calibration(
        temperature=temperature,
        nll_before=before,
        nll_after=negative_log_likelihood(calibrated, labels),
        ece_before=_ece(logits, labels),
        ece_after=_ece(calibrated, labels),
        notes=notes,
        bias=shift,
    )


def _with_bias(
    margins: Floats, is_second: NDArray[np.bool_], temperature: float
) -> tuple[float, float]:
    """The likeliest temperature and bias of log-odds (N,); a temperature outside its bounds leaves
    the one given and no bias.
    """
    from scipy.optimize import minimize

    signs = np.where(is_second, 1.0, -1.0)

    def loss(point: Floats) -> tuple[float, Floats]:
        signed = signs * (margins * point[0] + point[1])
        slope = -signs * np.exp(-np.logaddexp(0.0, signed)) / len(margins)
        return float(np.logaddexp(0.0, -signed).mean()), np.array(
            [(slope * margins).sum(), slope.sum()]
        )

    found = minimize(
        loss, np.array([1 / temperature, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-9}
    )
    slope, shift = (float(value) for value in found.x)
    low, high = TEMPERATURE_BOUNDS
    return (1 / slope, shift) if slope > 0 and low < 1 / slope < high else (temperature, 0.0)


def uncalibrated(probabilities: NDArray[Any], calibration: Calibration | None) -> Floats | None:
    """Return the (N, K) probabilities without temperature and bias; None without a calibration."""
    if calibration is None or calibration.temperature == 1.0:
        return None
    bias = np.zeros(np.shape(probabilities)[1])
    bias[-1] = calibration.bias
    with np.errstate(divide="ignore"):
        return softmax(np.maximum(np.log(probabilities) - bias, -700.0) * calibration.temperature)


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the temperature of `calibrate`. Raises as `calibrate`."""
    return calibrate(logits, labels).temperature


def _ece(logits: Floats, labels: NDArray[Any]) -> float:
    positive = 1 if logits.shape[1] == 2 else None
    return expected_calibration_error(*calibration_view(softmax(logits), labels, positive))


def _check(logits: Floats, labels: NDArray[Any]) -> None:
    if (
        logits.ndim != 2
        or logits.shape[1] < 2
        or len(logits) == 0
        or labels.shape != (len(logits),)
    ):
        raise DataError(
            "calibration: expected logits (N, K) with K >= 2 and labels (N,), N >= 1, got "
            f"{logits.shape} and {labels.shape}"
        )
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise DataError(
            f"calibration: the logits of row {row} are not finite; check the output of the model"
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise DataError(
            f"calibration: expected labels from 0 to {logits.shape[1] - 1}, got {labels.min()} to "
            f"{labels.max()}"
        )
