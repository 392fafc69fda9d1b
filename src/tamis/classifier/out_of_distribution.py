"""Out-of-distribution detection for a classifier: bits per byte of a text under its own trunk,
compared with a limit that was fitted on training texts.

A fine-tuned trunk still works as a language model. A trunk with fewer blocks does not; then the
backbone is used, if it is on this machine. Shapes: N texts.
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
    OODLimit,
    fit_ood_limit,
    ood_summary,
    utf8_lengths,
)
from tamis.decision.verdict import Verdict
from tamis.gpt2.backbones import load_backbone, local_folder
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
    limit: OODLimit | None = None
    """None where it was not fitted: too few training texts, or a model that transformers wrote"""

    @cached_property
    def language_model(self) -> LanguageModel:
        """The language model that computes bits per byte."""
        own = self.predictor.exact_model().transformer
        if self.limit is None or self.limit.language_model is not None:
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
    def usable_limit(self) -> OODLimit | None:
        """The limit; None if it was fitted with a language model that is not on this machine."""
        limit = self.limit
        known = limit is None or limit.language_model == self.language_model.fingerprint
        return limit if known else None

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

    def is_ood(self, texts: Sequence[str], bits: NDArray[np.float64]) -> list[bool | None]:
        """Return whether each of N texts with its (N,) bits per byte is out-of-distribution; None
        without a usable limit.
        """
        limit = self.usable_limit
        if limit is None:
            return [None] * len(texts)
        return [bool(one) for one in limit.is_ood(bits, utf8_lengths(texts))]

    def mark(
        self, verdicts: Sequence[Verdict], *, progress: Progress | None = None
    ) -> list[Verdict]:
        """Return the verdicts with bits per byte and whether the text is out-of-distribution."""
        texts = [verdict.text for verdict in verdicts]
        bits = self.bits_per_byte(texts, progress=progress)
        each = zip(verdicts, self.is_ood(texts, bits), bits.tolist(), strict=True)
        return [replace(verdict, ood=ood, bits_per_byte=own) for verdict, ood, own in each]

    def fitted(
        self,
        texts: Sequence[str],
        *,
        held_out: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> OODDetector:
        """Return a detector with a limit fitted on a sample of the distinct training texts; without
        a limit for fewer than 100 texts.

        If the trunk was trained to predict the tokens of the training texts, it knows them better
        than others. Then the `held_out` texts are used, if there are enough.
        """
        distinct = list(dict.fromkeys(text for text in texts if text))
        fresh = list(dict.fromkeys(text for text in held_out if text))
        if self.recipe.train.lm_loss_weight and len(fresh) >= FEWEST_TEXTS:
            distinct = fresh
        distinct = [distinct[row] for row in _sample(len(distinct), self.recipe.seed).tolist()]
        unfitted = replace(self, limit=None)
        if len(distinct) < FEWEST_TEXTS:
            return unfitted
        bits = unfitted.bits_per_byte(distinct, progress=progress)
        limit = fit_ood_limit(bits, utf8_lengths(distinct))
        reader = unfitted.language_model.fingerprint
        return replace(self, limit=limit and replace(limit, language_model=reader))

    def report(
        self, texts: Sequence[str], labels: Sequence[str], *, progress: Progress | None = None
    ) -> dict[str, Any] | None:
        """Return metrics on out-of-distribution texts among N labelled ones, from a sample of at
        most `MOST_TEXTS`; None without a usable limit. Its row numbers refer to `texts`.
        """
        if self.limit is None or not len(texts) or self.usable_limit is None:
            return None
        rows = _sample(len(texts), self.recipe.seed)
        some = [texts[row] for row in rows.tolist()]
        bits = self.bits_per_byte(some, progress=progress)
        found = ood_summary(some, [labels[row] for row in rows.tolist()], bits, self.limit)
        return found | {
            "examples": [{**one, "row": int(rows[one["row"]])} for one in found["examples"]]
        }


def _sample(count: int, seed: int) -> NDArray[np.int64]:
    """Numbers, rising, of at most `MOST_TEXTS` of so many texts."""
    if count <= MOST_TEXTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:MOST_TEXTS])
