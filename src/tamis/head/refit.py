"""A trained model's head taken out, put back and solved again, beside a model that goes on
answering.

Shapes: N rows, C channels, K classes; features have length one, as in linear_head.py. The solver is
logistic_regression.py's.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.features import last_tokens
from tamis.gpt2.model import GPT2, GPT2Classifier, Linear
from tamis.head.linear_head import fold_into, length_one
from tamis.head.logistic_regression import LinearHead, Matrix, Metric, Solution, solve_again
from tamis.progress import Progress
from tamis.text.encoding import EncodedTexts

__all__ = ["LinearHead", "Metric", "Solution", "features_of", "head_of", "solve_again", "with_head"]


def features_of(
    trunk: GPT2,
    messages: EncodedTexts,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """(R, C) features of length one of every text, from one pass of the trunk; a long text's are
    the mean over its windows.

    A linear head on that mean gives the mean of the windows' logits: the text's score for more than
    two classes. For two the strongest window decides (text/windows.py); what is learnt from a long
    text is then learnt from all of it.
    """
    rows = np.arange(len(messages.distinct_of))
    normed = _by_window(trunk, messages, cache, progress)
    return (
        messages.mean_over_windows(normed[messages.windows_of(rows)], rows)
        .numpy()
        .astype(np.float32)
    )


def features_and_logits(
    model: GPT2Classifier,
    messages: EncodedTexts,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], Matrix]:
    """`features_of` (R, C), and (R, K) the logits that the model gives, its windows pooled by its
    own rule, from the same pass.
    """
    rows = np.arange(len(messages.distinct_of))
    normed = _by_window(model.transformer, messages, cache, progress)[messages.windows_of(rows)]
    logits = messages.aggregate(torch.from_numpy(head_of(model).logits(normed.numpy())), rows)
    return messages.mean_over_windows(normed, rows).numpy().astype(np.float32), logits.numpy()


def _by_window(
    trunk: GPT2, messages: EncodedTexts, cache: FeatureCache | None, progress: Progress | None
) -> torch.Tensor:
    """(W, C) features of length one of every window."""
    if len(messages.distinct_of) == 0:
        return torch.empty((0, trunk.config.n_embd), dtype=torch.float64)
    return torch.from_numpy(
        length_one(last_tokens(trunk, messages, cache=cache, progress=progress), trunk.ln_f.eps)
    )


def head_of(model: GPT2Classifier) -> LinearHead:
    """What `ln_f` and `score` of any classifier amount to on features of length one.

    Of the heads that score equally it is the one whose rows sum to zero over channels (the features
    do) and over classes.
    """
    ln_f = model.transformer.ln_f
    score = model.score.weight.detach().double().cpu().numpy()
    weight = score * ln_f.weight.detach().double().cpu().numpy() * np.sqrt(score.shape[1])
    bias = score @ ln_f.bias.detach().double().cpu().numpy()
    weight = weight - weight.mean(1, keepdims=True)
    return LinearHead(weight - weight.mean(0), bias - bias.mean())


def with_head(model: GPT2Classifier, head: LinearHead) -> GPT2Classifier:
    """A classifier with another head on the same trunk: blocks and embeddings are shared, not
    copied.
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
