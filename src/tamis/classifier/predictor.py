"""How a fitted classifier reads texts longer than its context: which windows they are cut into, and
which one decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.decision.verdict import DecisionRule, Window
from tamis.decision.window_penalty import concatenate_negatives, penalty
from tamis.gpt2.model import GPT2Classifier
from tamis.text.bpe_dropout import DroppedMerges
from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer
from tamis.text.windows import OVERLAP, WindowAggregation, size_for

MOST_LONG = 0.01
"""Share of training texts longer than the context from which on the penalty for many windows stays
at the 1 that they were learnt with."""


class LongTexts:
    """The part of TextClassifier that knows of windows; the attributes are the classifier's."""

    classes_: NDArray[Any]
    positive_: str | None
    tokenizer_: Tokenizer
    model_: GPT2Classifier
    recipe_: Recipe
    rule_: DecisionRule

    @property
    def aggregation(self) -> WindowAggregation:
        """How the windows of a text become one score."""
        penalty = self.recipe_.text.window_penalty
        place = (
            None
            if self.positive_ is None
            else [str(c) for c in self.classes_].index(self.positive_)
        )
        return WindowAggregation(place, 1.0 if penalty is None else penalty)

    def encode(self, texts: list[str], *, context: int | None = None) -> EncodedTexts:
        """Texts as the model reads them; `context` where there is no model yet."""
        longest = self.model_.transformer.config.n_positions if context is None else context
        return EncodedTexts.encode(
            texts,
            self.tokenizer_,
            context=longest,
            window=self.recipe_.text.window,
            aggregation=self.aggregation,
        )

    def retokenize(self, texts: list[str], *, context: int) -> Callable[[int], EncodedTexts] | None:
        """Gives the texts as a training epoch, numbered from 0, meets them where words are cut into
        other pieces each time.
        """
        share = self.recipe_.train.bpe_dropout
        if not share:
            return None
        dropped = DroppedMerges(self.tokenizer_, share, self.recipe_.seed)

        def of_epoch(epoch: int) -> EncodedTexts:
            window, pooling = self.recipe_.text.window, self.aggregation
            return EncodedTexts.encode(
                texts, dropped.of_epoch(epoch), context=context, window=window, aggregation=pooling
            )

        return of_epoch

    def with_window(self, texts: list[str], context: int) -> Recipe:
        """The recipe with the window's size settled by the training texts, where it is open."""
        if self.recipe_.text.window is not None:
            return self.recipe_
        lengths = np.array([len(ids) for ids in self.tokenizer_.encode(texts)])
        return self.recipe_.changed({"text.window": size_for(lengths, context)})

    def concatenate_negatives(
        self, texts: Sequence[str], targets: NDArray[np.int64], messages: EncodedTexts
    ) -> Callable[[NDArray[np.int64]], EncodedTexts] | None:
        """Gives the windows, each a message of its own, of long texts joined from the negatives
        among some of the rows.

        None where nothing is to be learnt from them: the penalty is given or has no meaning, or
        more than MOST_LONG of the R training rows are long, so that threshold and probabilities
        hold for texts pooled by theory's 1 (`messages`: the training rows first).
        """
        text, pooling = self.recipe_.text, self.aggregation
        if pooling.positive is None or text.window_penalty is not None or text.fixed_length:
            return None
        if sum(messages.long[: len(texts)]) > MOST_LONG * len(texts):
            return None

        def of(rows: NDArray[np.int64]) -> EncodedTexts:
            negatives = rows[targets[rows] != pooling.positive]
            long = concatenate_negatives(
                [texts[row] for row in negatives.tolist()], self.recipe_.seed
            )
            assert text.window is not None, "with_window comes first"
            cut = [
                self.tokenizer_.windows(ids, text.window, overlap=OVERLAP)
                for ids in self.tokenizer_.encode(long)
            ]
            windows = tuple(window for parts in cut for window in parts)
            return EncodedTexts(windows, np.arange(len(windows) + 1), np.arange(len(windows)))

        return of

    def with_penalty(
        self,
        windows: NDArray[np.float64],
        held_out: NDArray[np.float64],
        targets: NDArray[np.int64],
    ) -> Recipe:
        """The recipe with the penalty learnt, where the windows are enough, from calibrated logits.

        (V, K) of `concatenate_negatives`' windows, and (H, K) and class numbers of the held-out
        rows.
        """
        place, threshold = self.aggregation.positive, self.rule_.threshold
        if place is None or not threshold or threshold >= 1:
            return self.recipe_
        cut = np.log(threshold / (1 - threshold))
        negatives, positives = (
            logits[:, place] - logits[:, 1 - place] - cut
            for logits in (windows, held_out[targets == place])
        )
        learnt = penalty(negatives, positives)
        return (
            self.recipe_
            if learnt is None
            else self.recipe_.changed({"text.window_penalty": learnt})
        )

    def window_spans(self, tokens: int) -> list[tuple[int, int]]:
        """(first, stop) token of each window of a text of so many tokens; the whole text where it
        fits the context.
        """
        context = self.model_.transformer.config.n_positions
        return self.tokenizer_.window_spans(
            tokens, context, size=self.recipe_.text.window, overlap=OVERLAP
        )

    def windows(self, ids: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        """The token ids of a text as they go through the model."""
        context = self.model_.transformer.config.n_positions
        return self.tokenizer_.windows(ids, context, size=self.recipe_.text.window, overlap=OVERLAP)

    def window(self, text: str, number: int) -> Window | None:
        """Where window `number` of a text stands; None for a text of one window."""
        offsets: list[tuple[int, int]] = self.tokenizer_.backend.encode(text).offsets
        spans = self.window_spans(len(offsets))
        if len(spans) == 1:
            return None
        first, stop = spans[number]
        return Window(number, len(spans), first, stop, offsets[first][0], offsets[stop - 1][1])
