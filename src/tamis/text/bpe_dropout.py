"""BPE-dropout: a tokenizer that cuts words in other ways than usual, so that a classifier does not
hang on one way of cutting them.

A rare or misspelt word is cut into pieces that training never saw together; a model that has met
its words in many cuts reads the letters. Here a share of the merges is left out for a whole group
of texts, not for every word anew: to a model that meets a text in many groups it is the same, and
it follows from the seed alone (the dropout of `tokenizers` does not). Source: Provilkov et al.,
"BPE-Dropout: Simple and Effective Subword Regularization", ACL 2020.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as _Tokenizer

from tamis.text.tokenizer import Tokenizer

GROUPS, TEXTS_A_GROUP = 8, 50
"""Groups of texts, each with its own merges left out, at the most; a group more for each so many
texts."""


class DroppedMerges:
    """Tokenizers without a random share of the merges, others in every epoch."""

    def __init__(self, tokenizer: Tokenizer, share: float, seed: int) -> None:
        """`share` of the merges is left out in each group of texts; the same seed draws the
        same.
        """
        self._tokenizer, self._share, self._seed = tokenizer, share, seed
        self._whole = json.loads(tokenizer.backend.to_str())

    def of_epoch(self, epoch: int) -> Tokenizer:
        """The tokenizer of an epoch, numbered from 0; ids and all else but the cuts are the
        original's.
        """
        return _InGroups(self._tokenizer, self._without, np.random.default_rng([self._seed, epoch]))

    def _without(self, random: np.random.Generator) -> Tokenizer:
        """One that lacks a share of the merges."""
        merges = self._whole["model"]["merges"]
        kept = random.random(len(merges)) >= self._share
        model = self._whole["model"] | {
            "merges": [merge for merge, keep in zip(merges, kept, strict=True) if keep]
        }
        return Tokenizer(_Tokenizer.from_str(json.dumps(self._whole | {"model": model})))


class _InGroups(Tokenizer):
    """A tokenizer that cuts each text as the group does into which it falls by lot."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        draw: Callable[[np.random.Generator], Tokenizer],
        random: np.random.Generator,
    ) -> None:
        super().__init__(tokenizer.backend)
        self._draw, self._random = draw, random

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        groups = min(GROUPS, 1 + len(texts) // TEXTS_A_GROUP)
        group = self._random.integers(groups, size=len(texts))
        found: dict[int, NDArray[np.int32]] = {}
        for number in range(groups):
            own = np.flatnonzero(group == number).tolist()
            found |= dict(
                zip(own, self._draw(self._random).encode([texts[i] for i in own]), strict=True)
            )
        return [found[i] for i in range(len(texts))]
