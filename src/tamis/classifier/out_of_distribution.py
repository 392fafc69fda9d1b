"""How a fitted classifier tells texts like those it learnt from others: bits per byte under its own
trunk, against its own limit.

Tuning leaves a trunk the language model it was. Cutting it to fewer blocks does not: then the
backbone reads, where it is on this machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.inputs import as_texts
from tamis.config import Recipe
from tamis.decision.out_of_distribution import (
    FEWEST_TEXTS,
    MOST_TEXTS,
    OODDetector,
    fit_ood_detector,
    ood_summary,
    utf8_lengths,
)
from tamis.decision.verdict import Verdict
from tamis.gpt2.backbones import load_backbone, local_folder
from tamis.gpt2.likelihood import bits_per_byte
from tamis.gpt2.model import GPT2, GPT2Classifier, MeanPoolingBlock
from tamis.progress import Progress
from tamis.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class _LanguageModel:
    """The language model that texts are read by."""

    trunk: GPT2
    pooled: bool
    """its last block stands in a pooling block's place and has been trained"""
    fingerprint: str | None
    """of a backbone; None: the classifier's own trunk"""


class OODMixin:
    """The part of TextClassifier that knows what it has learnt; the attributes are the
    classifier's.
    """

    tokenizer_: Tokenizer
    recipe_: Recipe
    ood_detector_: OODDetector | None = None
    """The limit, None where it was not set (too few training texts, or a model that transformers
    wrote)."""
    _language_model: _LanguageModel | None = None

    def _check_fitted(self) -> None:
        raise NotImplementedError

    def _exact_model(self) -> GPT2Classifier:
        raise NotImplementedError

    def bits_per_byte(self, texts: Iterable[str], *, progress: Progress | None = None) -> Any:
        """(N,) bits per byte of texts under the model's own trunk read as a language model; one
        text alone gives one number.

        A tuned trunk still tells another language or broken encoding from its own texts; for one
        that was cut the backbone reads, where it is here. Costs two to three verdicts a text.

        Raises:
            NotFittedError: called before `fit` or `load`.
            DataError: a text is not a string or not valid Unicode.
        """
        self._check_fitted()
        listed, single = as_texts(texts)
        if self._language_model is None:
            self._language_model = self._select_language_model()
        bits = bits_per_byte(
            self._language_model.trunk,
            listed,
            self.tokenizer_,
            pooled=self._language_model.pooled,
            progress=progress,
        )
        return bits[0] if single else bits

    def _select_language_model(self) -> _LanguageModel:
        """Who reads. A limit that was set under another reader says nothing and is dropped."""
        own = self._exact_model().transformer
        reader, limit = None, self.ood_detector_
        if limit is None or limit.language_model is not None:
            reader = self._backbone_of_truncated(own)
        if reader is None:
            # Training the last blocks trains the pooling block in its written-out form, in which it
            # cannot be told from the others.
            position = self.recipe_.text.pooling
            pooled = position == "attention" or (
                self.recipe_.blocks is not None and position in ("mean", "mean_and_last")
            )
            reader = _LanguageModel(own, pooled, None)
        if limit is not None and limit.language_model != reader.fingerprint:
            self.ood_detector_ = None
        return reader

    def _backbone_of_truncated(self, own: GPT2) -> _LanguageModel | None:
        """The backbone, where the trunk is its lower part and it lies on this machine."""
        name = self.recipe_.backbone
        if (
            self.recipe_.tune != "head"
            or self.recipe_.text.layers == "auto"
            or local_folder(name) is None
        ):
            return None
        backbone = load_backbone(name)
        kept = sum(not isinstance(block, MeanPoolingBlock) for block in own.h)
        if kept >= sum(not isinstance(block, MeanPoolingBlock) for block in backbone.model.h):
            return None
        return _LanguageModel(backbone.model.to(own.wte.weight.device), False, backbone.fingerprint)

    def fit_ood_detector(
        self,
        texts: Sequence[str],
        *,
        held_out: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> OODDetector | None:
        """Set the limit from the training texts; a sample of distinct ones is enough, with fewer
        than 100 there is no limit.

        A tuned trunk knows its training texts hardly better than others, unless it was trained to
        predict their tokens too: then the `held_out` ones are taken, where there are enough.
        """
        distinct = list(dict.fromkeys(text for text in texts if text))
        fresh = list(dict.fromkeys(text for text in held_out if text))
        if self.recipe_.train.lm_loss_weight and len(fresh) >= FEWEST_TEXTS:
            distinct = fresh
        if len(distinct) > MOST_TEXTS:
            order = np.random.default_rng(self.recipe_.seed).permutation(len(distinct))[:MOST_TEXTS]
            distinct = [distinct[i] for i in np.sort(order).tolist()]
        self.ood_detector_ = self._language_model = None
        if len(distinct) >= FEWEST_TEXTS:
            limit = fit_ood_detector(
                self.bits_per_byte(distinct, progress=progress), utf8_lengths(distinct)
            )
            self.ood_detector_ = limit and replace(
                limit, language_model=self._language_model_fingerprint()
            )
        return self.ood_detector_

    def _language_model_fingerprint(self) -> str | None:
        """Fingerprint of the backbone that reads, None for the own trunk."""
        return None if self._language_model is None else self._language_model.fingerprint

    def is_ood(self, texts: Sequence[str], bits: NDArray[np.float64]) -> list[bool | None]:
        """Of each text with its bits per byte whether it is out-of-distribution; None where there
        is no limit.
        """
        if self.ood_detector_ is None:
            return [None] * len(texts)
        return [bool(one) for one in self.ood_detector_.is_ood(bits, utf8_lengths(texts))]

    def with_ood(
        self, verdicts: Sequence[Verdict], *, progress: Progress | None = None
    ) -> list[Verdict]:
        """The same verdicts, each told whether its text is out-of-distribution."""
        texts = [verdict.text for verdict in verdicts]
        bits = self.bits_per_byte(texts, progress=progress)
        each = zip(verdicts, self.is_ood(texts, bits), bits.tolist(), strict=True)
        return [replace(verdict, ood=ood, bits_per_byte=own) for verdict, ood, own in each]


def ood_report(
    classifier: OODMixin,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    progress: Progress | None = None,
) -> dict[str, Any] | None:
    """What a report says of test texts that are unlike what was learnt, of at most `MOST_TEXTS`
    drawn ones; None without a limit.

    Rows in it are those of `texts`.
    """
    if classifier.ood_detector_ is None or not len(texts):
        return None
    rows = np.arange(len(texts))
    if len(texts) > MOST_TEXTS:
        rows = np.sort(
            np.random.default_rng(classifier.recipe_.seed).permutation(len(texts))[:MOST_TEXTS]
        )
    some = [texts[row] for row in rows.tolist()]
    bits = classifier.bits_per_byte(some, progress=progress)
    found = ood_summary(
        some, [labels[row] for row in rows.tolist()], bits, classifier.ood_detector_
    )
    return found | {
        "examples": [{**one, "row": int(rows[one["row"]])} for one in found["examples"]]
    }
