"""How a fitted classifier tells texts like those it learnt from others: bits per byte under its own trunk, against its own limit.

Tuning leaves a trunk the language model it was. Cutting it to fewer blocks does not: then the backbone reads, where it is on this machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.inputs import as_texts
from tamis.config import Recipe
from tamis.decision.out_of_distribution import FEWEST_TEXTS, MOST_TEXTS, Familiarity, fit_familiarity, outside, sizes
from tamis.decision.verdict import Verdict
from tamis.gpt2.backbones import load_backbone, local_folder
from tamis.gpt2.likelihood import bits_per_byte
from tamis.gpt2.model import GPT2, GPT2Classifier, MeanPoolingBlock
from tamis.progress import Progress
from tamis.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class _Reader:
    """The language model that texts are read by."""

    trunk: GPT2
    pooled: bool
    """its last block stands in a pooling block's place and has been trained"""
    fingerprint: str | None
    """of a backbone; None: the classifier's own trunk"""


class FamiliarTexts:
    """The part of TextClassifier that knows what it has learnt; the attributes are the classifier's."""

    tokenizer_: Tokenizer
    recipe_: Recipe
    familiarity_: Familiarity | None = None
    """The limit, None where it was not set (too few training texts, or a model that transformers wrote)."""
    _reader: _Reader | None = None

    def _check_fitted(self) -> None:
        raise NotImplementedError

    def _exact_model(self) -> GPT2Classifier:
        raise NotImplementedError

    def familiarity(self, texts: Iterable[str], *, progress: Progress | None = None) -> Any:
        """(N,) bits per byte of texts under the model's own trunk read as a language model; one text alone gives one number.

        A tuned trunk still tells another language or broken encoding from its own texts; for one that was cut the backbone reads, where
        it is here. Costs two to three verdicts a text.

        Raises:
            NotFittedError: called before `fit` or `load`.
            DataError: a text is not a string or not valid Unicode.
        """
        self._check_fitted()
        listed, single = as_texts(texts)
        if self._reader is None:
            self._reader = self._chosen_reader()
        bits = bits_per_byte(self._reader.trunk, listed, self.tokenizer_, pooled=self._reader.pooled, progress=progress)
        return bits[0] if single else bits

    def _chosen_reader(self) -> _Reader:
        """Who reads. A limit that was set under another reader says nothing and is dropped."""
        own = self._exact_model().transformer
        reader, limit = None, self.familiarity_
        if limit is None or limit.reader is not None:
            reader = self._backbone_of_a_cut(own)
        if reader is None:
            # Training the last blocks trains the pooling block in its written-out form, in which it cannot be told from the others.
            position = self.recipe_.text.position
            pooled = position == "attention" or (self.recipe_.blocks is not None and position in ("mean", "both"))
            reader = _Reader(own, pooled, None)
        if limit is not None and limit.reader != reader.fingerprint:
            self.familiarity_ = None
        return reader

    def _backbone_of_a_cut(self, own: GPT2) -> _Reader | None:
        """The backbone, where the trunk is its lower part and it lies on this machine."""
        name = self.recipe_.backbone
        if self.recipe_.tune != "head" or self.recipe_.text.layer == "auto" or local_folder(name) is None:
            return None
        backbone = load_backbone(name)
        kept = sum(not isinstance(block, MeanPoolingBlock) for block in own.h)
        if kept >= sum(not isinstance(block, MeanPoolingBlock) for block in backbone.model.h):
            return None
        return _Reader(backbone.model.to(own.wte.weight.device), False, backbone.fingerprint)

    def learn_familiarity(
        self, texts: Sequence[str], *, held_out: Sequence[str] = (), progress: Progress | None = None
    ) -> Familiarity | None:
        """Set the limit from the training texts; a sample of distinct ones is enough, with fewer than 100 there is no limit.

        A tuned trunk knows its training texts hardly better than others, unless it was trained to predict their tokens too: then the
        `held_out` ones are taken, where there are enough.
        """
        distinct = list(dict.fromkeys(text for text in texts if text))
        fresh = list(dict.fromkeys(text for text in held_out if text))
        if self.recipe_.train.next_token_weight and len(fresh) >= FEWEST_TEXTS:
            distinct = fresh
        if len(distinct) > MOST_TEXTS:
            order = np.random.default_rng(self.recipe_.seed).permutation(len(distinct))[:MOST_TEXTS]
            distinct = [distinct[i] for i in np.sort(order).tolist()]
        self.familiarity_ = self._reader = None
        if len(distinct) >= FEWEST_TEXTS:
            limit = fit_familiarity(self.familiarity(distinct, progress=progress), sizes(distinct))
            self.familiarity_ = limit and replace(limit, reader=self._read_by())
        return self.familiarity_

    def _read_by(self) -> str | None:
        """Fingerprint of the backbone that reads, None for the own trunk."""
        return None if self._reader is None else self._reader.fingerprint

    def is_familiar(self, texts: Sequence[str], bits: NDArray[np.float64]) -> list[bool | None]:
        """Of each text with its bits per byte whether it is like what was learnt; None where there is no limit."""
        if self.familiarity_ is None:
            return [None] * len(texts)
        return [bool(one) for one in self.familiarity_.familiar(bits, sizes(texts))]

    def with_familiarity(self, verdicts: Sequence[Verdict], *, progress: Progress | None = None) -> list[Verdict]:
        """The same verdicts, each told whether its text is like what was learnt."""
        texts = [verdict.text for verdict in verdicts]
        bits = self.familiarity(texts, progress=progress)
        each = zip(verdicts, self.is_familiar(texts, bits), bits.tolist(), strict=True)
        return [replace(verdict, familiar=familiar, bits_per_byte=own) for verdict, familiar, own in each]


def looked_through(
    classifier: FamiliarTexts, texts: Sequence[str], labels: Sequence[str], *, progress: Progress | None = None
) -> dict[str, Any] | None:
    """What a report says of test texts that are unlike what was learnt, of at most `MOST_TEXTS` drawn ones; None without a limit.

    Rows in it are those of `texts`.
    """
    if classifier.familiarity_ is None or not len(texts):
        return None
    rows = np.arange(len(texts))
    if len(texts) > MOST_TEXTS:
        rows = np.sort(np.random.default_rng(classifier.recipe_.seed).permutation(len(texts))[:MOST_TEXTS])
    some = [texts[row] for row in rows.tolist()]
    bits = classifier.familiarity(some, progress=progress)
    found = outside(some, [labels[row] for row in rows.tolist()], bits, classifier.familiarity_)
    return found | {"examples": [{**one, "row": int(rows[one["row"]])} for one in found["examples"]]}
