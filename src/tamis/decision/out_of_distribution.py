"""Out-of-distribution detection: a limit on bits per byte that depends on the length of the text.

Bits per byte of short texts vary more. Mean and variance are linear in 1 / bytes, fitted on texts
like the training texts, and the limit is the number of standard deviations above the mean that
`QUANTILE` of these texts do not exceed. The bits per byte come from gpt2/likelihood.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILE = 0.99
"""Share of the training texts that counts as in-distribution: about 1 % of texts like them is
marked."""
FEWEST_TEXTS = 100
"""Texts below which no limit is set: one of them would have to stand for the last percent."""
MOST_TEXTS = 1000
"""Texts that the limit is set on, and test texts that are looked through: the figure costs more
than a verdict."""
SHOWN = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OODLimit:
    """A limit on bits per byte for every text length."""

    mean: float
    mean_by_length: float
    """Expected bits per byte of a text of n bytes: mean + mean_by_length / n."""
    variance: float
    variance_by_length: float
    """Their variance: variance + variance_by_length / n."""
    deviations: float
    """Standard deviations above the mean from which a text is out-of-distribution."""
    texts: int
    """Distinct texts that the limit was set on."""
    language_model: str | None = None
    """Fingerprint of the backbone that reads the texts; None where the model's own trunk does."""

    def expected(self, text_bytes: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return the (N,) expected bits per byte of texts with (N,) UTF-8 bytes, and their standard
        deviations.
        """
        inverse = 1.0 / np.maximum(1, text_bytes)
        return self.mean + self.mean_by_length * inverse, np.sqrt(
            self.variance + self.variance_by_length * inverse
        )

    def limits(self, text_bytes: NDArray[np.int64]) -> Floats:
        """Return the (N,) bits per byte above which texts with (N,) UTF-8 bytes are
        out-of-distribution.
        """
        mean, spread = self.expected(text_bytes)
        return np.asarray(mean + self.deviations * spread)

    def is_ood(self, bits_per_byte: Floats, text_bytes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (N,) whether each text is out-of-distribution."""
        return np.asarray(~(bits_per_byte <= self.limits(text_bytes)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for tamis.json."""
        return asdict(self)


def utf8_lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return the (N,) UTF-8 bytes of each text."""
    return np.array([len(text.encode()) for text in texts], dtype=np.int64)


def fit_ood_limit(
    bits_per_byte: Floats, text_bytes: NDArray[np.int64], *, quantile: float = QUANTILE
) -> OODLimit | None:
    """Fit the limit that `quantile` of these texts do not exceed; None for fewer than
    `FEWEST_TEXTS` texts.

    Args:
        bits_per_byte: (N,) of distinct texts like the training texts.
        text_bytes: (N,) their UTF-8 bytes.
        quantile: share of the texts that is in-distribution.
    """
    if len(bits_per_byte) < FEWEST_TEXTS:
        return None
    inverse = 1.0 / np.maximum(1, text_bytes)
    mean = _line(inverse, bits_per_byte)
    rest = bits_per_byte - (mean[0] + mean[1] * inverse)
    # A variance is never negative, and never below a hundredth of the usual one: a few odd lengths
    # must not make it so.
    least = 0.01 * float(np.var(rest)) + 1e-12
    variance = _line(inverse, rest**2)
    if variance[1] < 0 or variance[0] < least:
        variance = np.array([max(least, float(np.mean(rest**2))), 0.0])
    z = rest / np.sqrt(variance[0] + variance[1] * inverse)
    deviations = float(np.quantile(z, quantile, method="higher"))
    return OODLimit(
        float(mean[0]),
        float(mean[1]),
        float(variance[0]),
        float(variance[1]),
        deviations,
        len(bits_per_byte),
    )


def read_ood_limit(values: Any) -> OODLimit | None:
    """Return the limit from the values in tamis.json; None if they are missing or malformed."""
    try:
        return OODLimit(
            **{
                name: values[name]
                for name in OODLimit.__dataclass_fields__
                if name != "language_model" or name in values
            }
        )
    except (TypeError, KeyError):
        return None


def ood_summary(
    texts: Sequence[str], labels: Sequence[str], bits_per_byte: Floats, limit: OODLimit
) -> dict[str, Any]:
    """Return the part of a report on out-of-distribution texts: number of texts, number and share
    of out-of-distribution ones, and the most extreme ones.

    Args:
        texts: N texts.
        labels: their labels.
        bits_per_byte: (N,)
        limit: the limit of the model.
    """
    unlike = limit.is_ood(bits_per_byte, utf8_lengths(texts))
    above = bits_per_byte - limit.limits(utf8_lengths(texts))
    rows = [row for row in np.argsort(-above, kind="stable").tolist() if unlike[row]]
    examples = [
        {
            "row": row,
            "label": labels[row],
            "bits_per_byte": float(bits_per_byte[row]),
            "text": texts[row],
        }
        for row in rows[:SHOWN]
    ]
    return {
        "n": len(texts),
        "flagged": int(unlike.sum()),
        "share": float(unlike.mean()) if len(texts) else None,
        "median_bits_per_byte": float(np.median(bits_per_byte)) if len(texts) else None,
        "limit": limit.to_dict(),
        "examples": examples,
    }


def ood_sentence(found: Mapping[str, Any] | None) -> str:
    """Return the summary in words; empty without a summary."""
    if not found:
        return ""
    return (
        f"{found['flagged']:,} of {found['n']:,} test texts ({100 * (found['share'] or 0):.1f} "
        "%) are out-of-distribution, for example in another language or with a broken encoding. "
        "About 1 % of texts similar to the training rows are also marked."
    )


def _line(x: Floats, y: Floats) -> Floats:
    """Intercept and slope by least squares."""
    design = np.stack([np.ones(len(x)), x], 1)
    return np.asarray(np.linalg.lstsq(design, y, rcond=None)[0])
