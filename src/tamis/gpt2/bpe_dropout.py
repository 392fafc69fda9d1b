"""BPE-dropout: a tokenizer that cuts words in other ways than usual, so that a classifier does not hang on one way of cutting them.

A rare or misspelt word is cut into pieces that training never saw together; a model that has met its words in many cuts reads the letters.
Here a share of the merges is left out for a whole group of texts, not for every word anew: to a model that meets a text in many groups it is
the same, and it follows from the seed alone (the dropout of `tokenizers` does not).
Source: Provilkov et al., "BPE-Dropout: Simple and Effective Subword Regularization", ACL 2020.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as _Tokenizer

from tamis.gpt2.tokenizer import Tokenizer

GROUPS = 8
"""Groups of texts, each with its own merges left out."""


class DroppedMerges:
    """Tokenizers without a random share of the merges, others in every epoch."""

    def __init__(self, tokenizer: Tokenizer, share: float, seed: int) -> None:
        """`share` of the merges is left out in each group of texts; the same seed draws the same."""
        self._tokenizer, self._share, self._seed = tokenizer, share, seed
        self._whole = json.loads(tokenizer.backend.to_str())
        self._merges = self._whole["model"]["merges"]

    def of_epoch(self, epoch: int) -> Tokenizer:
        """The tokenizer of an epoch, numbered from 0; ids and all else but the cuts are the original's."""
        random = np.random.default_rng([self._seed, epoch])
        groups = []
        for _ in range(GROUPS):
            kept = random.random(len(self._merges)) >= self._share
            model = self._whole["model"] | {"merges": [merge for merge, keep in zip(self._merges, kept, strict=True) if keep]}
            groups.append(Tokenizer(_Tokenizer.from_str(json.dumps(self._whole | {"model": model}))))
        return _InGroups(self._tokenizer, groups, random)


class _InGroups(Tokenizer):
    """A tokenizer that cuts each text as the group does into which it falls by lot."""

    def __init__(self, tokenizer: Tokenizer, groups: list[Tokenizer], random: np.random.Generator) -> None:
        super().__init__(tokenizer.backend)
        self._groups, self._random = groups, random

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        group = self._random.integers(len(self._groups), size=len(texts))
        found: dict[int, NDArray[np.int32]] = {}
        for number, tokenizer in enumerate(self._groups):
            own = np.flatnonzero(group == number).tolist()
            found |= dict(zip(own, tokenizer.encode([texts[i] for i in own]), strict=True))
        return [found[i] for i in range(len(texts))]
