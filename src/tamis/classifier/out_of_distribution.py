"""Out-of-distribution detection for a classifier: features and tokens per byte of a text, compared
with a limit that was fitted on training texts.

The limit of an earlier model is one on bits per byte under its own trunk, which still works as a
language model after fine-tuning. A trunk with fewer blocks does not; then the backbone is used, if
it is on this machine. Shapes: N texts, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.inputs import as_texts
from tamis.classifier.predictor import Predictor
from tamis.config import Recipe
from tamis.decision.out_of_distribution import (
    FEWEST_TEXTS,
    MOST_TEXTS,
    DensityLimit,
    Limit,
    OODLimit,
    fit_density_limit,
    ood_summary,
    text_sizes,
    utf8_lengths,
)
from tamis.decision.verdict import Verdict
from tamis.gpt2.backbones import load_backbone, local_folder
from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.likelihood import bits_per_byte
from tamis.gpt2.model import GPT2, MeanPoolingBlock
from tamis.progress import Progress


@dataclass(frozen=True)
class LanguageModel:
    """The language model that computes bits per byte."""

    trunk: GPT2
    pooled: bool
    """its last block stands in a pooling block's place and has been trained"""
    fingerprint: str | None
    """of a backbone; None: the classifier's own trunk"""


@dataclass(frozen=True, eq=False)
class OODDetector:
    """Detects out-of-distribution texts of one classifier."""

    predictor: Predictor
    recipe: Recipe
    """resolved; what the trunk was made from"""
    limit: Limit | None = None
    """None where it was not fitted: too few training texts, or a model that transformers wrote"""

    @cached_property
    def language_model(self) -> LanguageModel:
        """The language model that computes bits per byte."""
        own = self.predictor.exact_model().transformer
        if not isinstance(self.limit, OODLimit) or self.limit.language_model is not None:
            backbone = self._backbone_of_truncated(own)
            if backbone is not None:
                return backbone
        # Training the last blocks trains the pooling block in its written-out form, in which it
        # cannot be told from the others.
        pooling = self.recipe.text.pooling
        trained = self.recipe.blocks is not None and pooling == "mean"
        return LanguageModel(own, pooling == "attention" or trained, None)

    def _backbone_of_truncated(self, own: GPT2) -> LanguageModel | None:
        """The backbone, where the trunk is its lower part and it lies on this machine."""
        name = self.recipe.backbone
        if (
            self.recipe.tune != "head"
            or self.recipe.text.layers == "auto"
            or local_folder(name) is None
        ):
            return None
        backbone = load_backbone(name)
        kept = sum(not isinstance(block, MeanPoolingBlock) for block in own.h)
        if kept >= sum(not isinstance(block, MeanPoolingBlock) for block in backbone.model.h):
            return None
        return LanguageModel(backbone.model.to(own.wte.weight.device), False, backbone.fingerprint)

    @property
    def usable_limit(self) -> Limit | None:
        """The limit; None if it was fitted with a language model that is not on this machine."""
        limit = self.limit
        if isinstance(limit, OODLimit) and limit.language_model != self.language_model.fingerprint:
            return None
        return limit

    @property
    def reads_features(self) -> bool:
        """Whether the limit is one on the features that the head reads."""
        return isinstance(self.limit, DensityLimit)

    def scores(
        self,
        texts: Sequence[str],
        *,
        features: NDArray[np.float32] | None = None,
        cache: FeatureCache | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float64]:
        """Return by how many standard deviations N texts are above the mean of texts like the
        training texts, (N,); NaN without a usable limit. Costs as much as a prediction, or nothing
        where the (N, C) `features` are given or the `cache` has the states of the texts.

        Raises:
            DataError: a text is not a string or not valid Unicode.
        """
        limit, listed = self.usable_limit, as_texts(texts)
        if limit is None or not len(listed):
            return np.full(len(listed), np.nan)
        if isinstance(limit, OODLimit):
            bits = self.bits_per_byte(listed, progress=progress)
            return limit.scores(bits, utf8_lengths(listed))
        if features is None:
            features = self.predictor.embed(listed, cache=cache, progress=progress)
        return limit.scores(features, text_sizes(listed, self.predictor.tokenizer))

    def bits_per_byte(self, texts: Sequence[str] | str, *, progress: Progress | None = None) -> Any:
        """Return the (N,) bits per byte of texts; for a single text one number. Costs as much as
        two to three predictions.

        Raises:
            DataError: a text is not a string or not valid Unicode.
        """
        single = isinstance(texts, str)
        listed = as_texts([texts] if single else texts)
        model = self.language_model
        with self.predictor.computing():
            bits = bits_per_byte(
                model.trunk,
                listed,
                self.predictor.tokenizer,
                pooled=model.pooled,
                progress=progress,
            )
        return bits[0] if single else bits

    def is_ood(self, texts: Sequence[str], scores: NDArray[np.float64]) -> list[bool | None]:
        """Return whether each of N texts with its (N,) scores is out-of-distribution; None without
        a usable limit.
        """
        limit = self.usable_limit
        if limit is None:
            return [None] * len(texts)
        return [bool(one) for one in ~(scores <= limit.deviations)]

    def mark(
        self,
        verdicts: Sequence[Verdict],
        *,
        features: NDArray[np.float32] | None = None,
        cache: FeatureCache | None = None,
        progress: Progress | None = None,
    ) -> list[Verdict]:
        """Return the verdicts with their score and whether the text is out-of-distribution;
        arguments as `scores`.
        """
        texts = [verdict.text for verdict in verdicts]
        if self.usable_limit is None:
            return list(verdicts)
        scores = self.scores(texts, features=features, cache=cache, progress=progress)
        each = zip(verdicts, self.is_ood(texts, scores), scores.tolist(), strict=True)
        return [replace(verdict, ood=ood, ood_score=own) for verdict, ood, own in each]

    def fitted(
        self,
        texts: Sequence[str],
        *,
        features: NDArray[np.float32] | None = None,
        held_out: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> OODDetector:
        """Return a detector with a limit fitted on a sample of the distinct training texts; without
        a limit for fewer than 100 texts.

        A trunk that was trained on the texts knows them better than others. Then the limit is set
        on the `held_out` texts, if there are enough. `features` (N, C) of the texts are computed
        where they are not given.
        """
        rows = np.array([row for row in _first_rows(texts) if texts[row]], dtype=np.int64)
        rows = rows[_sample(len(rows), self.recipe.seed)]
        unfitted = replace(self, limit=None)
        if len(rows) < FEWEST_TEXTS:
            return unfitted
        known = [texts[row] for row in rows.tolist()]
        own = self.predictor.embed(known, progress=progress) if features is None else features[rows]
        tokenizer = self.predictor.tokenizer
        fresh = list(dict.fromkeys(text for text in held_out if text))
        unseen = None
        if self.recipe.tune != "head" and len(fresh) >= FEWEST_TEXTS:
            fresh = [fresh[row] for row in _sample(len(fresh), self.recipe.seed).tolist()]
            unseen = (
                self.predictor.embed(fresh, progress=progress),
                text_sizes(fresh, tokenizer),
            )
        return replace(
            self, limit=fit_density_limit(own, text_sizes(known, tokenizer), unseen=unseen)
        )

    def report(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        cache: FeatureCache | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any] | None:
        """Return metrics on out-of-distribution texts among N labelled ones, from a sample of at
        most `MOST_TEXTS`; None without a usable limit. Its row numbers refer to `texts`.

        The `cache` may have the states of all texts; then none are computed.
        """
        limit = self.limit
        if limit is None or not len(texts) or self.usable_limit is None:
            return None
        rows = _sample(len(texts), self.recipe.seed)
        some = [texts[row] for row in rows.tolist()]
        if cache is not None and isinstance(limit, DensityLimit):
            features = self.predictor.embed(texts, cache=cache, progress=progress)[rows]
            scores = limit.scores(features, text_sizes(some, self.predictor.tokenizer))
        else:
            scores = self.scores(some, progress=progress)
        found = ood_summary(some, [labels[row] for row in rows.tolist()], scores, limit)
        return found | {
            "examples": [{**one, "row": int(rows[one["row"]])} for one in found["examples"]]
        }


def _first_rows(texts: Sequence[str]) -> list[int]:
    """Return the row where each distinct text occurs first."""
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    return list(first.values())


def _sample(count: int, seed: int) -> NDArray[np.int64]:
    """Numbers, rising, of at most `MOST_TEXTS` of so many texts."""
    if count <= MOST_TEXTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:MOST_TEXTS])
