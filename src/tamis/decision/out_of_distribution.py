"""Out-of-distribution detection: how far a text is from the training texts, and the limit that
`QUANTILE` of texts like them do not exceed. The figures are in standard deviations for the length
of the text.

`DensityLimit`, which `tamis train` fits: the Mahalanobis distance of the features that the head
reads (feature_density.py), and the tokens per byte of the text; the vocabulary was made for other
texts if a text needs many tokens. Both cost nothing beside a prediction.
`OODLimit`, of models that were trained before: bits per byte (gpt2/likelihood.py).

Shapes: N texts, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.decision.feature_density import FeatureDensity, fit_density
from tamis.decision.length_trend import LengthTrend
from tamis.text.tokenizer import Tokenizer

QUANTILE = 0.99
"""Share of the training texts that counts as in-distribution: about 1 % of texts like them is
marked."""
FEWEST_TEXTS = 100
"""Texts below which no limit is set: one of them would have to stand for the last percent."""
MOST_TEXTS = 1000
"""Texts that the limit is set on, and test texts that are looked through."""
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

    @property
    def trend(self) -> LengthTrend:
        """Bits per byte by the length of the text."""
        return LengthTrend(self.mean, self.mean_by_length, self.variance, self.variance_by_length)

    def expected(self, text_bytes: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return the (N,) expected bits per byte of texts with (N,) UTF-8 bytes, and their standard
        deviations.
        """
        return self.trend.expected(text_bytes)

    def limits(self, text_bytes: NDArray[np.int64]) -> Floats:
        """Return the (N,) bits per byte above which texts with (N,) UTF-8 bytes are
        out-of-distribution.
        """
        mean, spread = self.expected(text_bytes)
        return np.asarray(mean + self.deviations * spread)

    def scores(self, bits_per_byte: Floats, text_bytes: NDArray[np.int64]) -> Floats:
        """Return by how many standard deviations texts are above the mean, (N,)."""
        return self.trend.deviations(bits_per_byte, text_bytes)

    def is_ood(self, bits_per_byte: Floats, text_bytes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (N,) whether each text is out-of-distribution."""
        return np.asarray(~(bits_per_byte <= self.limits(text_bytes)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for tamis.json."""
        return asdict(self)

    def summary(self) -> dict[str, Any]:
        """Return plain values for a report."""
        return self.to_dict()


@dataclass(frozen=True)
class TextSizes:
    """The sizes of N texts."""

    tokens: NDArray[np.int64]
    """(N,) tokens of each text, without padding, truncation and added tokens"""
    text_bytes: NDArray[np.int64]
    """(N,) UTF-8 bytes"""

    @property
    def tokens_per_byte(self) -> Floats:
        """(N,); 0 for an empty text."""
        return np.asarray(self.tokens / np.maximum(1, self.text_bytes))


@dataclass(frozen=True, eq=False)
class DensityLimit:
    """A limit on the distance of a text's features and on its tokens per byte, together."""

    density: FeatureDensity
    distance: LengthTrend
    """of the Mahalanobis distance"""
    tokens: LengthTrend
    """of tokens per byte"""
    spread: float
    """Standard deviation of the sum of both figures, each in standard deviations."""
    deviations: float
    """Score above which a text is out-of-distribution."""
    texts: int
    """Distinct texts that the limit was set on."""

    def __eq__(self, other: object) -> bool:
        """Whether both are the same limit."""
        return isinstance(other, DensityLimit) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        """Return the hash of the plain numbers."""
        return hash((self.distance, self.tokens, self.spread, self.deviations, self.texts))

    def scores(self, features: NDArray[Any], sizes: TextSizes) -> Floats:
        """Return by how many standard deviations N texts are above the mean of texts like the
        training texts.

        Args:
            features: (N, C) of length one.
            sizes: of the texts.
        """
        return self.scores_of(self.density.distances(features), sizes)

    def scores_of(self, distances: Floats, sizes: TextSizes) -> Floats:
        """Return (N,) as `scores` for (N,) Mahalanobis distances."""
        far = self.distance.deviations(distances, sizes.text_bytes)
        strange = self.tokens.deviations(sizes.tokens_per_byte, sizes.text_bytes)
        return np.asarray((far + strange) / self.spread)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for tamis.json."""
        return {"kind": "density", **self.summary(), "density": self.density.to_dict()}

    def summary(self) -> dict[str, Any]:
        """Return plain values for a report: all but the density."""
        return {
            "distance": asdict(self.distance),
            "tokens": asdict(self.tokens),
            "spread": self.spread,
            "deviations": self.deviations,
            "texts": self.texts,
        }


Limit = OODLimit | DensityLimit


def utf8_lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return the (N,) UTF-8 bytes of each text."""
    return np.array([len(text.encode()) for text in texts], dtype=np.int64)


def text_sizes(texts: Sequence[str], tokenizer: Tokenizer) -> TextSizes:
    """Return the tokens and bytes of N texts."""
    plain = tokenizer.without_padding()
    added = int(plain.begins)
    tokens = [len(ids) - added for ids in plain.encode(list(texts))] if len(texts) else []
    return TextSizes(np.array(tokens, dtype=np.int64), utf8_lengths(texts))


def fit_density_limit(
    features: NDArray[Any],
    sizes: TextSizes,
    *,
    unseen: tuple[NDArray[Any], TextSizes] | None = None,
) -> DensityLimit | None:
    """Fit the limit that `QUANTILE` of texts like these do not exceed; None for fewer than
    `FEWEST_TEXTS` texts.

    Args:
        features: (N, C) features, of length one, of distinct texts like the training texts.
        sizes: of these texts.
        unseen: features and sizes of texts that the trunk was not trained on, if it was trained on
            the others: it knows those better, so the limit is set on these.
    """
    if len(features) < FEWEST_TEXTS:
        return None
    density, distances = fit_density(features)
    if unseen is not None:
        distances, sizes = density.distances(unseen[0]), unseen[1]
    limit = DensityLimit(
        density,
        LengthTrend.fit(distances, sizes.text_bytes),
        LengthTrend.fit(sizes.tokens_per_byte, sizes.text_bytes),
        1.0,
        0.0,
        len(distances),
    )
    spread = float(np.std(limit.scores_of(distances, sizes))) or 1.0
    limit = replace(limit, spread=spread)
    scores = limit.scores_of(distances, sizes)
    return replace(limit, deviations=float(np.quantile(scores, QUANTILE, method="higher")))


def fit_ood_limit(
    bits_per_byte: Floats, text_bytes: NDArray[np.int64], *, quantile: float = QUANTILE
) -> OODLimit | None:
    """Fit the limit on bits per byte that `quantile` of these texts do not exceed; None for fewer
    than `FEWEST_TEXTS` texts.

    Args:
        bits_per_byte: (N,) of distinct texts like the training texts.
        text_bytes: (N,) their UTF-8 bytes.
        quantile: share of the texts that is in-distribution.
    """
    if len(bits_per_byte) < FEWEST_TEXTS:
        return None
    trend = LengthTrend.fit(bits_per_byte, text_bytes)
    scores = trend.deviations(bits_per_byte, text_bytes)
    deviations = float(np.quantile(scores, quantile, method="higher"))
    return OODLimit(**asdict(trend), deviations=deviations, texts=len(bits_per_byte))


def read_ood_limit(values: Any) -> Limit | None:
    """Return the limit from the values in tamis.json; None if they are missing or malformed."""
    try:
        if values.get("kind") == "density":
            return DensityLimit(
                FeatureDensity.from_dict(values["density"]),
                LengthTrend(**values["distance"]),
                LengthTrend(**values["tokens"]),
                float(values["spread"]),
                float(values["deviations"]),
                int(values["texts"]),
            )
        return OODLimit(
            **{
                name: values[name]
                for name in OODLimit.__dataclass_fields__
                if name != "language_model" or name in values
            }
        )
    except (AttributeError, TypeError, KeyError, ValueError):
        return None


def ood_summary(
    texts: Sequence[str], labels: Sequence[str], scores: Floats, limit: Limit
) -> dict[str, Any]:
    """Return the part of a report on out-of-distribution texts: number of texts, number and share
    of out-of-distribution ones, and the most extreme ones.

    Args:
        texts: N texts.
        labels: their labels.
        scores: (N,) by the limit.
        limit: the limit of the model.
    """
    unlike = ~(scores <= limit.deviations)
    rows = [row for row in np.argsort(-scores, kind="stable").tolist() if unlike[row]]
    examples = [
        {"row": row, "label": labels[row], "score": float(scores[row]), "text": texts[row]}
        for row in rows[:SHOWN]
    ]
    return {
        "n": len(texts),
        "flagged": int(unlike.sum()),
        "share": float(unlike.mean()) if len(texts) else None,
        "median_score": float(np.median(scores)) if len(texts) else None,
        "limit": limit.summary(),
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
