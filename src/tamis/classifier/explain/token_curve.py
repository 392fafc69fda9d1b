"""What a classifier would say if the text ended after each of its tokens: one pass, since a causal
model never looks ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.decision.calibration import softmax
from tamis.gpt2.features import FROZEN_TOKENS
from tamis.gpt2.packing import by_length, pack
from tamis.text.windows import RunningAggregation

if TYPE_CHECKING:
    from tamis.classifier.text_classifier import TextClassifier


def running_probabilities(classifier: TextClassifier, text: str) -> NDArray[np.float64]:
    """(T, K) probabilities after each token; the last row is `predict_proba`'s, to rounding.

    With mean pooling the state after a token is the mean over the tokens up to it, without it the
    token's own. A text longer than the context is read by the classifier's windows: a token counts
    in the first window that holds it, and its logits there are pooled with the last ones of the
    windows before by the classifier's own rule for as many windows (`tamis.text.windows`). From one
    window to the next the curve may jump: the model forgets what the new window does not hold.
    """
    ids = classifier.tokenizer_.encode([text])[0]
    # Cut like the ids, the numbers of the tokens say which of them each window holds.
    places = classifier.windows(np.arange(len(ids), dtype=np.int32))
    logits = logits_of_all_tokens(classifier, [ids[p] for p in places])
    pooled, joined, seen = RunningAggregation(1, logits[0].shape[1], classifier.aggregation), [], -1
    for window, values in zip(places, logits, strict=True):
        joined.append(pooled.with_one_more(0, values[window > seen]))
        pooled.add(0, values[-1])
        seen = int(window[-1])
    return softmax(np.concatenate(joined))


def logits_of_all_tokens(
    classifier: TextClassifier, windows: list[NDArray[np.int32]]
) -> list[NDArray[np.float64]]:
    """(T, K) of each window, in their order."""
    model = classifier.scorer()
    found: list[NDArray[np.float64]] = [np.empty((0, 0))] * len(windows)
    with torch.inference_mode():
        for rows in by_length([len(window) for window in windows], FROZEN_TOKENS):
            packed = pack([windows[row] for row in rows]).to(model.score.weight.device)
            trunk = model.transformer
            values = (
                model.head(trunk.blocks(trunk.embed(packed), packed)).double().cpu().numpy()
            )  # (N, K), in packed order
            ends = np.cumsum([len(windows[rows[place]]) for place in packed.order])
            for place, part in zip(packed.order, np.split(values, ends[:-1]), strict=True):
                found[rows[place]] = part
    return found


def offsets(classifier: TextClassifier, text: str) -> list[tuple[int, int]]:
    """(start, end) of each token in the text's characters: (0, 0) for what stands for no character,
    as a leading `<|endoftext|>`.

    Tokens that share the bytes of one character all name that character.
    """
    found: list[tuple[int, int]] = classifier.tokenizer_.backend.encode(text).offsets
    return found or [(0, 0)]
