"""Which texts are like those a model was trained on: bits per byte against a limit that knows how
texts of a length vary.

Bits per byte of short texts vary more, so mean and variance are straight lines in 1 / bytes, fitted
on texts of the training rows' kind, and the limit is so many standard deviations above the mean
that `QUANTILE` of those texts lie below. Where the bits come from is gpt2/likelihood.py's.
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
class OODDetector:
    """A limit on bits per byte for each length of text."""

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
        """(N,) UTF-8 bytes of each text -> (N,) expected bits per byte, and their standard
        deviation.
        """
        inverse = 1.0 / np.maximum(1, text_bytes)
        return self.mean + self.mean_by_length * inverse, np.sqrt(
            self.variance + self.variance_by_length * inverse
        )

    def limits(self, text_bytes: NDArray[np.int64]) -> Floats:
        """(N,) UTF-8 bytes of each text -> (N,) bits per byte above which it is
        out-of-distribution.
        """
        mean, spread = self.expected(text_bytes)
        return np.asarray(mean + self.deviations * spread)

    def is_ood(self, bits_per_byte: Floats, text_bytes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N,) whether each text is out-of-distribution."""
        return np.asarray(~(bits_per_byte <= self.limits(text_bytes)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for tamis.json."""
        return asdict(self)


def utf8_lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    """(N,) UTF-8 bytes of each text."""
    return np.array([len(text.encode()) for text in texts], dtype=np.int64)


def fit_ood_detector(
    bits_per_byte: Floats, text_bytes: NDArray[np.int64], *, quantile: float = QUANTILE
) -> OODDetector | None:
    """The limit that `quantile` of these texts keep; None where they are too few.

    Args:
        bits_per_byte: (N,) of distinct texts like those the model was trained on.
        text_bytes: (N,) their UTF-8 bytes.
        quantile: share of them that is to be in-distribution.
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
    return OODDetector(
        float(mean[0]),
        float(mean[1]),
        float(variance[0]),
        float(variance[1]),
        deviations,
        len(bits_per_byte),
    )


def read_ood_detector(values: Any) -> OODDetector | None:
    """From the values in tamis.json; None where there are none or they are of another kind."""
    try:
        return OODDetector(
            **{
                name: values[name]
                for name in OODDetector.__dataclass_fields__
                if name != "reader" or name in values
            }
        )
    except (TypeError, KeyError):
        return None


def ood_summary(
    texts: Sequence[str], labels: Sequence[str], bits_per_byte: Floats, limit: OODDetector
) -> dict[str, Any]:
    """What a report says of its test texts: how many were looked at, how many are
    out-of-distribution, and the farthest ones.

    Args:
        texts: N texts.
        labels: their labels.
        bits_per_byte: (N,)
        limit: the model's.
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
    """The same in words; empty where it was not looked at."""
    if not found:
        return ""
    return (
        f"{found['flagged']:,} of {found['n']:,} test texts ({100 * (found['share'] or 0):.1f} "
        "%) are unlike what was learnt (another "
        "language, broken encoding, another world); about 1 % of texts like the training rows "
        "is marked so."
    )


def _line(x: Floats, y: Floats) -> Floats:
    """Intercept and slope by least squares."""
    design = np.stack([np.ones(len(x)), x], 1)
    return np.asarray(np.linalg.lstsq(design, y, rcond=None)[0])
