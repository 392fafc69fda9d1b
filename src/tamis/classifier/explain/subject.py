"""The interface of a classifier that can be explained; `TextClassifier` implements it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.decision.verdict import DecisionRule, Verdict
from tamis.gpt2.model import GPT2Classifier
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

    @property
    def scorer(self) -> GPT2Classifier:
        """The model in the number type it computes in."""
        ...

    def computing(self) -> AbstractContextManager[None]:
        """Context with the model's thread count."""
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
