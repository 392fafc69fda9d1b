"""Scores of texts: each is encoded once, batches are sorted by length, results are in the caller's
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.compute.parallel import compute_in_parallel
from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.features import FROZEN_TOKENS, last_tokens
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.packing import by_length, pack
from tamis.progress import Progress, Silent
from tamis.text.encoding import EncodedTexts


@dataclass(frozen=True)
class Scored:
    """The scores of R texts."""

    logits: NDArray[np.float64]
    """(R, K)"""
    deciding: NDArray[np.int64]
    """(R,) index of the deciding window within the text; 0 for a single window"""


def score(
    model: GPT2Classifier, messages: EncodedTexts, *, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Return the logits of every text, (R, K).

    A text's scores do not depend on the other texts (up to rounding) or on the order.
    """
    return score_windows(model, messages, progress=progress).logits


def score_windows(
    model: GPT2Classifier,
    messages: EncodedTexts,
    *,
    last: NDArray[np.float32] | None = None,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> Scored:
    """Like `score`, with the deciding window of each text.

    At most `FROZEN_TOKENS` tokens of windows are computed at a time, however long a text is. `last`
    are the (W, C) states of the windows' last tokens, where they are known.
    """
    if any(
        module.training for module in model.modules()
    ):  # setting an unchanged value takes a quarter of a millisecond
        model.eval()
    width = model.score.out_features
    device = model.score.weight.device
    logits = torch.empty(len(messages.windows), width)

    if cache is not None:
        last = last_tokens(model.transformer, messages, cache=cache, progress=progress)

    def compute(windows: NDArray[np.int64]) -> torch.Tensor:
        if last is not None:
            return model.head(torch.from_numpy(last[windows]).to(device)).cpu()
        return model(pack([messages.windows[w] for w in windows]).to(device)).cpu()  # type: ignore[no-any-return]

    batches = list(by_length(messages.lengths, FROZEN_TOKENS))
    with (
        torch.inference_mode(),
        (progress or Silent()).task("scoring", total=len(logits), unit="messages") as task,
    ):
        for windows, found in zip(
            batches, compute_in_parallel(compute, batches, device=device), strict=True
        ):
            logits[windows] = found
            task.advance(len(windows))
        return scored_texts(messages, logits)


def scored_texts(messages: EncodedTexts, logits: torch.Tensor) -> Scored:
    """Return the scores of R texts from the (W, K) logits of their windows."""
    rows = np.arange(len(messages.distinct_of))
    if len(rows) == 0:
        return Scored(np.empty((0, logits.shape[1])), np.empty(0, dtype=np.int64))
    own = logits[messages.windows_of(rows)].double()
    return Scored(messages.aggregate(own, rows).numpy(), messages.deciding(own.numpy(), rows))


def window_logits(
    model: GPT2Classifier, windows: Sequence[NDArray[np.int32]]
) -> NDArray[np.float64]:
    """Return the (W, K) logits of W windows of token ids, at least one, computed as one batch in
    the calling thread.
    """
    with torch.inference_mode():
        packed = pack(list(windows)).to(model.score.weight.device)
        logits: NDArray[np.float64] = model(packed).cpu().double().numpy()
    return logits


def token_logits(
    model: GPT2Classifier, windows: Sequence[NDArray[np.int32]]
) -> list[NDArray[np.float64]]:
    """Return the (T, K) logits of each window as if it ended after each of its T tokens: one pass
    of the causal model.
    """
    found: list[NDArray[np.float64]] = [np.empty((0, 0))] * len(windows)
    trunk = model.transformer
    with torch.inference_mode():
        for rows in by_length([len(window) for window in windows], FROZEN_TOKENS):
            packed = pack([windows[row] for row in rows]).to(model.score.weight.device)
            values = (
                model.head(trunk.blocks(trunk.embed(packed), packed)).double().cpu().numpy()
            )  # (N, K), in packed order
            ends = np.cumsum([len(windows[rows[place]]) for place in packed.order])
            for place, part in zip(packed.order, np.split(values, ends[:-1]), strict=True):
                found[rows[place]] = part
    return found
