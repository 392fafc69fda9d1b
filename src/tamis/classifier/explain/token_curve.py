"""The prediction if the text ended after each of its tokens, from one pass of the causal model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.explain.subject import ExplainedClassifier
from tamis.text.windows import RunningAggregation


def running_probabilities(classifier: ExplainedClassifier, text: str) -> NDArray[np.float64]:
    """Return the (T, K) probabilities after each token; the last row equals `predict_proba` to
    rounding.

    With mean pooling the state after a token is the mean over the tokens up to it, otherwise the
    state of the token. For a text longer than the context, a token belongs to the first window that
    contains it, and its logits are combined with the last ones of the windows before, by the same
    rule as in prediction (`tamis.text.windows`). The curve may jump between windows, because a
    window does not contain the text before it.
    """
    ids = classifier.predictor_.tokenizer.encode([text])[0]
    # Cut like the ids, the numbers of the tokens say which of them each window holds.
    places = classifier.predictor_.encoder.windows(np.arange(len(ids), dtype=np.int32))
    logits = classifier.predictor_.token_logits([ids[p] for p in places])
    aggregation = classifier.predictor_.encoder.aggregation
    pooled, joined, seen = RunningAggregation(1, logits[0].shape[1], aggregation), [], -1
    for window, values in zip(places, logits, strict=True):
        joined.append(pooled.with_one_more(0, values[window > seen]))
        pooled.add(0, values[-1])
        seen = int(window[-1])
    return classifier.rule_.probabilities(np.concatenate(joined))


def offsets(classifier: ExplainedClassifier, text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each token in characters of the text; (0, 0) for a token without
    characters, such as a leading `<|endoftext|>`.

    Tokens that share the bytes of one character have the same offsets.
    """
    return classifier.predictor_.tokenizer.offsets(text)
