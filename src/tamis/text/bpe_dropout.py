"""BPE-dropout: a tokenizer that randomly splits words differently in every epoch.

Rare or misspelt words are split into tokens that training never saw together. A model that was
trained on many splits of the same words relies less on one of them. Here a share of the merges is
dropped for a whole group of texts, not anew for every word. For a model that sees a text in many
groups the effect is the same, and the result depends only on the seed (the dropout of `tokenizers`
does not). Source: Provilkov et al., "BPE-Dropout: Simple and Effective Subword Regularization", ACL
2020.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as _Tokenizer

from tamis.text.tokenizer import Tokenizer

GROUPS, TEXTS_A_GROUP = 8, 50
"""Most groups of texts, each with its own dropped merges; there is one group per this many
texts."""


class DroppedMerges:
    """Tokenizers without a random share of the merges, different in every epoch."""

    def __init__(self, tokenizer: Tokenizer, share: float, seed: int) -> None:
        """Drop `share` of the merges in each group of texts; `seed` determines which."""
        self._tokenizer, self._share, self._seed = tokenizer, share, seed
        self._whole = json.loads(tokenizer.backend.to_str())

    def of_epoch(self, epoch: int) -> Tokenizer:
        """Return the tokenizer of an epoch, numbered from 0.

        Its ids and everything except the splits are those of the original.
        """
        return _InGroups(self._tokenizer, self._without, np.random.default_rng([self._seed, epoch]))

    def _without(self, random: np.random.Generator) -> Tokenizer:
        """Return a tokenizer without a random share of the merges."""
        merges = self._whole["model"]["merges"]
        kept = random.random(len(merges)) >= self._share
        model = self._whole["model"] | {
            "merges": [merge for merge, keep in zip(merges, kept, strict=True) if keep]
        }
        return Tokenizer(_Tokenizer.from_str(json.dumps(self._whole | {"model": model})))


class _InGroups(Tokenizer):
    """A tokenizer that assigns each text to a random group and uses that group's merges."""

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
