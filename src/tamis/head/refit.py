"""Read, replace and refit the head of a trained model while the model stays in use.

Shapes: N rows, C channels, K classes; features have length one, as in linear_head.py. The solver is
in logistic_regression.py.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.features import last_tokens
from tamis.gpt2.linear import Linear
from tamis.gpt2.model import GPT2, GPT2Classifier
from tamis.gpt2.scoring import Scored, score_windows
from tamis.head.linear_head import fold_into, length_one
from tamis.head.logistic_regression import (
    LinearHead,
    Matrix,
    Metric,
    Problem,
    Solution,
    solve_again,
)
from tamis.progress import Progress
from tamis.text.encoding import EncodedTexts

__all__ = [
    "LinearHead",
    "Metric",
    "Problem",
    "Solution",
    "features_of",
    "head_of",
    "score_with_features",
    "solve_again",
    "with_head",
]


def features_of(
    trunk: GPT2,
    messages: EncodedTexts,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return the (R, C) features of length one of every text, from one pass of the trunk; for a
    long text the mean over its windows.

    A linear head on this mean gives the mean of the windows' logits: the score for more than two
    classes. For two classes the strongest window counts in prediction (text/windows.py), but
    learning uses the whole text.
    """
    last = last_tokens(trunk, messages, cache=cache, progress=progress)
    return _features(last, trunk, messages)


def score_with_features(
    model: GPT2Classifier, messages: EncodedTexts, *, progress: Progress | None = None
) -> tuple[Scored, NDArray[np.float32]]:
    """Return the scores of R texts as `score_windows`, and (R, C) as `features_of`, from one
    pass.
    """
    last = last_tokens(model.transformer, messages, progress=progress)
    found = score_windows(model, messages, last=last)
    return found, _features(last, model.transformer, messages)


def _features(
    last: NDArray[np.float32], trunk: GPT2, messages: EncodedTexts
) -> NDArray[np.float32]:
    """(R, C) of length one, from the (W, C) states of the windows' last tokens."""
    rows = np.arange(len(messages.distinct_of))
    normed = _length_one(last, trunk)[messages.windows_of(rows)]
    return messages.mean_over_windows(normed, rows).numpy().astype(np.float32)


def features_and_logits(
    model: GPT2Classifier,
    messages: EncodedTexts,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], Matrix]:
    """Return (R, C) as `features_of`, and the (R, K) logits of the model with its rule for windows,
    from the same pass.
    """
    rows, trunk = np.arange(len(messages.distinct_of)), model.transformer
    last = last_tokens(trunk, messages, cache=cache, progress=progress)
    normed = _length_one(last, trunk)[messages.windows_of(rows)]
    logits = messages.aggregate(torch.from_numpy(head_of(model).logits(normed.numpy())), rows)
    return messages.mean_over_windows(normed, rows).numpy().astype(np.float32), logits.numpy()


def _length_one(last: NDArray[np.float32], trunk: GPT2) -> torch.Tensor:
    """(W, C) features of length one, from the states of the windows' last tokens."""
    return torch.from_numpy(length_one(last, trunk.ln_f.eps))


def head_of(model: GPT2Classifier) -> LinearHead:
    """Return the head on features of length one that `ln_f` and `score` of a classifier are
    equivalent to.

    Of all equivalent heads it is the one that sums to zero over channels (as the features do) and
    over classes.
    """
    ln_f = model.transformer.ln_f
    score = model.score.weight.detach().double().cpu().numpy()
    weight = score * ln_f.weight.detach().double().cpu().numpy() * np.sqrt(score.shape[1])
    bias = score @ ln_f.bias.detach().double().cpu().numpy()
    weight = weight - weight.mean(1, keepdims=True)
    return LinearHead(weight - weight.mean(0), bias - bias.mean())


def with_head(model: GPT2Classifier, head: LinearHead) -> GPT2Classifier:
    """Return a classifier with another head on the same trunk. Blocks and embeddings are shared,
    not copied.
    """
    trunk, classes = model.transformer, len(head.bias)
    with torch.device("meta"):  # a shell without memory, to be filled
        other = GPT2Classifier(GPT2(trunk.config, dropout=trunk.dropout), classes)
    other.transformer.wte, other.transformer.wpe, other.transformer.h = (
        trunk.wte,
        trunk.wpe,
        trunk.h,
    )
    device = model.score.weight.device
    other.transformer.ln_f = nn.LayerNorm(trunk.config.n_embd, eps=trunk.ln_f.eps, device=device)
    other.score = Linear(trunk.config.n_embd, classes, bias=False, device=device)
    fold_into(other, head.weight, head.bias)
    return other.requires_grad_(False).eval()
