"""The interface of a classifier that can be explained; `TextClassifier` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.decision.verdict import DecisionRule, Verdict
from tamis.text.encoder import TextEncoder
from tamis.text.tokenizer import Tokenizer


class ExplainedModel(Protocol):
    """The model under a classifier."""

    @property
    def encoder(self) -> TextEncoder:
        """How the model reads texts."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the encoder."""
        ...

    def token_logits(self, windows: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float64]]:
        """The (T, K) logits of each window as if it ended after each of its T tokens."""
        ...


class ExplainedClassifier(Protocol):
    """A fitted classifier of K classes."""

    classes_: NDArray[Any]
    positive_: str | None
    rule_: DecisionRule

    @property
    def predictor_(self) -> ExplainedModel:
        """The model."""
        ...

    def predict_proba(self, texts: list[str]) -> NDArray[np.float64]:
        """(N, K) probabilities."""
        ...

    def verdicts(self, texts: list[str]) -> list[Verdict]:
        """N verdicts."""
        ...
