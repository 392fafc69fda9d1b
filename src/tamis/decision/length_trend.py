"""How a figure of a text depends on the length of the text: mean and variance are linear in
1 / bytes, since short texts vary more.

Shapes: N texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LengthTrend:
    """Mean and variance of a figure for every text length."""

    mean: float
    mean_by_length: float
    """The mean for a text of n bytes is mean + mean_by_length / n."""
    variance: float
    variance_by_length: float
    """Its variance is variance + variance_by_length / n."""

    @classmethod
    def fit(cls, values: Floats, text_bytes: NDArray[np.int64]) -> LengthTrend:
        """Fit the trend by least squares on the (N,) figures of texts with (N,) UTF-8 bytes."""
        inverse = 1.0 / np.maximum(1, text_bytes)
        mean = _line(inverse, values)
        rest = values - (mean[0] + mean[1] * inverse)
        # A variance is never negative, and never below a hundredth of the usual one: a few odd
        # lengths must not make it so.
        least = 0.01 * float(np.var(rest)) + 1e-12
        variance = _line(inverse, rest**2)
        if variance[1] < 0 or variance[0] < least:
            variance = np.array([max(least, float(np.mean(rest**2))), 0.0])
        return cls(float(mean[0]), float(mean[1]), float(variance[0]), float(variance[1]))

    def expected(self, text_bytes: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return (N,) means and (N,) standard deviations for texts with (N,) UTF-8 bytes."""
        inverse = 1.0 / np.maximum(1, text_bytes)
        return self.mean + self.mean_by_length * inverse, np.sqrt(
            self.variance + self.variance_by_length * inverse
        )

    def deviations(self, values: Floats, text_bytes: NDArray[np.int64]) -> Floats:
        """Return by how many standard deviations (N,) figures are above the mean for their
        lengths.
        """
        mean, spread = self.expected(text_bytes)
        return np.asarray((values - mean) / spread)


def _line(x: Floats, y: Floats) -> Floats:
    """Intercept and slope by least squares."""
    design = np.stack([np.ones(len(x)), x], 1)
    return np.asarray(np.linalg.lstsq(design, y, rcond=None)[0])
