"""From texts to logits: a fitted model with its number type, thread count and windows.

Shapes: N texts, K classes, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.classifier.saved_model import load_model, weights_hash
from tamis.compute.device import Compute
from tamis.decision.calibration import softmax
from tamis.decision.verdict import DecisionRule, Verdict, with_windows
from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.inference import SmallBatches, in_dtype
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.scoring import Scored, score_windows, scored_texts, token_logits, window_logits
from tamis.head.refit import (
    LinearHead,
    features_and_logits,
    features_of,
    score_with_features,
    with_head,
)
from tamis.progress import Progress
from tamis.text.encoder import TextEncoder
from tamis.text.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model with everything needed to score texts. It stores no texts."""

    model: GPT2Classifier
    """in fp32, or as it is computed with where only that is kept (`origin`)"""
    encoder: TextEncoder
    compute: Compute
    origin: Path | None = None
    """the run that the fp32 weights are read from again where `model` does not hold them"""
    small: SmallBatches | None = None
    """computes few texts at a time; None: torch does"""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the encoder."""
        return self.encoder.tokenizer

    @property
    def threads(self) -> int:
        """CPU threads of a computation."""
        return self.compute.threads

    def computing(self) -> AbstractContextManager[None]:
        """Return a context with this model's thread count; the caller's number is restored
        afterwards.
        """
        return self.compute.using_threads()

    @cached_property
    def scorer(self) -> GPT2Classifier:
        """The model in the number type it computes in."""
        if self.origin is not None:
            return self.model
        trunk = in_dtype(self.model.transformer, self.compute.dtype)
        if trunk is self.model.transformer:
            return self.model
        with torch.random.fork_rng(devices=[]):  # a new head is drawn, and replaced
            cast = GPT2Classifier(trunk, self.model.score.out_features)
        cast.score = self.model.score
        return cast

    def use_threads(self, count: int) -> None:
        """Give the calling thread its own number of threads, until it is given another one."""
        self.compute.give_threads(count)

    def logits(
        self,
        texts: Sequence[str],
        *,
        cache: FeatureCache | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float64]:
        """Return the (N, K) logits of N texts. The score of a text does not depend on other texts,
        to rounding.

        Args:
            texts: N texts; each distinct text is computed once.
            cache: stores the states of the trunk for other heads on the same trunk.
            progress: receives progress updates.

        Raises:
            DataError: a text is not valid Unicode.
        """
        with self.computing():
            encoded = self.encoder.encode(texts)
            return score_windows(self.scorer, encoded, cache=cache, progress=progress).logits

    def prompt_logits(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Return (N, K) as `logits`, for a user who waits: few texts come from `small`, so that the
        last bits depend on how often it was called. Whatever has to give the same bytes again uses
        `logits`.
        """
        return self._prompt(texts, progress)[0].logits

    def _prompt(self, texts: Sequence[str], progress: Progress | None) -> tuple[Scored, list[bool]]:
        """Return the scores of N texts, and whether each has more than one window."""
        encoded = self.encoder.encode(texts)
        if self.small is not None and encoded.windows:
            found = self.small.logits(self.scorer, encoded.windows, self.threads)
            if found is not None:
                return scored_texts(encoded, torch.from_numpy(found)), encoded.long
        with self.computing():
            return score_windows(self.scorer, encoded, progress=progress), encoded.long

    def probabilities(
        self,
        texts: Sequence[str],
        *,
        cache: FeatureCache | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float64]:
        """Return (N, K) probabilities; arguments as `logits`."""
        return softmax(self.logits(texts, cache=cache, progress=progress))

    def window_logits(self, windows: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
        """Return the (W, K) logits of W windows of token ids, at least one, as one batch in the
        calling thread.
        """
        model = self.scorer
        found = None if self.small is None else self.small.logits(model, windows, self.threads)
        return window_logits(model, windows) if found is None else found

    def expect_many_calls(self) -> None:
        """Prepare for many calls with few texts each, as a server gets them."""
        if self.small is not None:
            self.small.warm(self.scorer, self.threads)

    def token_logits(self, windows: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float64]]:
        """Return the (T, K) logits of each window as if it ended after each of its T tokens."""
        with self.computing():
            return token_logits(self.scorer, windows)

    def embed(
        self,
        texts: Sequence[str],
        *,
        cache: FeatureCache | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the (N, C) vectors of length one that the head reads; for a long text the mean
        over its windows. Arguments as `logits`.
        """
        with self.computing():
            encoded = self.encoder.encode(texts)
            return features_of(self.scorer.transformer, encoded, cache=cache, progress=progress)

    def embed_and_score(
        self,
        texts: Sequence[str],
        *,
        cache: FeatureCache | None = None,
        progress: Progress | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return (N, C) as `embed`, and (N, K) logits with sum zero over classes, from one pass."""
        with self.computing():
            encoded = self.encoder.encode(texts)
            return features_and_logits(self.scorer, encoded, cache=cache, progress=progress)

    def verdicts(
        self,
        texts: Sequence[str],
        rule: DecisionRule,
        labels: list[str],
        *,
        progress: Progress | None = None,
    ) -> list[Verdict]:
        """Return N verdicts by a decision rule, from `prompt_logits`; for a text longer than the
        context also the deciding window.
        """
        found, long = self._prompt(texts, progress)
        verdicts = rule.verdicts(texts, rule.probabilities(found.logits), labels)
        return with_windows(self.encoder, verdicts, found.deciding, long)

    def verdicts_and_features(
        self,
        texts: Sequence[str],
        rule: DecisionRule,
        labels: list[str],
        *,
        progress: Progress | None = None,
    ) -> tuple[list[Verdict], NDArray[np.float32]]:
        """Return N verdicts as `verdicts`, and (N, C) as `embed`, from one pass."""
        encoded = self.encoder.encode(texts)
        with self.computing():
            found, features = score_with_features(self.scorer, encoded, progress=progress)
        verdicts = rule.verdicts(texts, rule.probabilities(found.logits), labels)
        return with_windows(self.encoder, verdicts, found.deciding, encoded.long), features

    def with_head(self, head: LinearHead) -> Predictor:
        """Return the same trunk with another head."""
        model = with_head(self.model, head)
        other = replace(self, model=model)
        if self.scorer is not self.model:  # the trunk is not cast again
            vars(other)["scorer"] = with_head(self.scorer, head)
        return other

    def without_fp32(self, origin: Path) -> Predictor:
        """Return the predictor without its fp32 weights, which are in the run `origin`."""
        return replace(self, model=self.scorer, origin=origin)

    def exact_model(self) -> GPT2Classifier:
        """Return the model in fp32 with the current head, read again if only a smaller copy was
        kept.

        Raises:
            RunError, CheckpointError: the run is missing or damaged.
        """
        if self.origin is None:
            return self.model
        exact = load_model(self.origin).model
        exact.transformer.ln_f, exact.score = self.model.transformer.ln_f, self.model.score
        return exact

    def fingerprint(self) -> str:
        """Return a hash of all weights in fp32, head included. Raises as `exact_model`."""
        return weights_hash(self.exact_model())
