"""The density of features as a Gaussian: some directions with a variance of their own, and one
variance for all others (probabilistic PCA). A text with an improbable feature is
out-of-distribution.

Shapes: N texts, C channels, D directions. Source: Tipping and Bishop 1999, "Probabilistic principal
component analysis"; the distance is that of Lee et al. 2018, "A simple unified framework for
detecting out-of-distribution samples", for one Gaussian.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DIRECTIONS = 16
"""Directions with a variance of their own. 16, 32, 64 and a full covariance matrix find foreign
texts equally well (docs/log), and 16 are small on disk."""
FOLDS = 5


@dataclass(frozen=True, eq=False)
class FeatureDensity:
    """A Gaussian over features."""

    mean: NDArray[np.float32]
    """(C,)"""
    directions: NDArray[np.float32]
    """(D, C), orthonormal"""
    variances: tuple[float, ...]
    """(D,) along the directions"""
    residual: float
    """variance in each other direction"""

    def distances(self, features: NDArray[Any]) -> Floats:
        """Return the (N,) Mahalanobis distances of (N, C) features from the mean."""
        away = features.astype(np.float64) - self.mean
        along = away @ self.directions.T.astype(np.float64)
        rest = np.maximum(0.0, (away**2).sum(1) - (along**2).sum(1))
        return np.asarray(np.sqrt((along**2 / self.variances).sum(1) + rest / self.residual))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for tamis.json; the arrays as base64 of fp32, little-endian."""
        both = np.concatenate([self.mean[None], self.directions]).astype("<f4")
        return {
            "channels": both.shape[1],
            "mean_and_directions": base64.b64encode(both.tobytes()).decode("ascii"),
            "variances": list(self.variances),
            "residual": self.residual,
        }

    @classmethod
    def from_dict(cls, values: Any) -> FeatureDensity:
        """Return the density from its plain values.

        Raises:
            ValueError, TypeError, KeyError: they are malformed.
        """
        both = np.frombuffer(base64.b64decode(values["mean_and_directions"]), dtype="<f4")
        both = both.reshape(-1, int(values["channels"])).astype(np.float32)
        variances = tuple(float(one) for one in values["variances"])
        if len(both) != len(variances) + 1 or not np.isfinite(both).all():
            raise ValueError(f"{len(both)} rows for {len(variances)} variances")
        if not all(one > 0 for one in (*variances, float(values["residual"]))):
            raise ValueError("a variance must be above 0")
        return cls(both[0], both[1:], variances, float(values["residual"]))


@dataclass(frozen=True)
class _Moments:
    """Count, sum and sum of products of rows; those of some rows can be taken away."""

    count: int
    total: Floats
    products: Floats

    @classmethod
    def of(cls, rows: Floats) -> _Moments:
        return cls(len(rows), rows.sum(0), rows.T @ rows)

    def without(self, other: _Moments) -> _Moments:
        return _Moments(
            self.count - other.count, self.total - other.total, self.products - other.products
        )

    def density(self, centre: Floats) -> FeatureDensity:
        """Return the density; `centre` (C,) was subtracted from the rows."""
        mean = self.total / self.count
        variances, directions = np.linalg.eigh(self.products / self.count - np.outer(mean, mean))
        channels = len(mean)
        kept = max(1, min(DIRECTIONS, channels - 2, self.count - 2))
        # The features sum to zero over channels: one direction has no variance by construction.
        rest = variances[: channels - kept].clip(0).sum() / max(1, channels - kept - 1)
        least = 1e-6 * float(variances.clip(0).mean()) + 1e-12
        return FeatureDensity(
            (centre + mean).astype(np.float32),
            directions[:, ::-1][:, :kept].T.astype(np.float32),
            tuple(np.maximum(variances[::-1][:kept], least).tolist()),
            max(float(rest), least),
        )


def fit_density(features: NDArray[Any]) -> tuple[FeatureDensity, Floats]:
    """Fit a density to the (N, C) features of N texts, N at least `FOLDS` + 3.

    Returns the density, and the (N,) distance of each text from the density of texts that are not
    in its fold: the distances from the density of all texts would be smaller than those of new
    texts.
    """
    rows = features.astype(np.float64)
    centre = rows.mean(0)
    rows = rows - centre  # the sums of products are differences of small numbers then
    whole, distances = _Moments.of(rows), np.empty(len(rows))
    folds = np.arange(len(rows)) % FOLDS
    for fold in range(FOLDS):
        own = folds == fold
        density = whole.without(_Moments.of(rows[own])).density(centre)
        distances[own] = density.distances(rows[own] + centre)
    return whole.density(centre), distances
