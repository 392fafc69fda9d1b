"""Question 8 of the reference: replaces GPT-2's output head by one for classes and freezes
everything except it and the last LayerNorm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from tamis.errors import ConfigError
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.model import GPT2, GPT2Classifier


def replace_head(
    model: Backbone | GPT2 | GPT2Classifier, num_classes: int, *, seed: int = 42
) -> GPT2Classifier:
    """Question 8 of the reference: replace GPT-2's head (C -> V) by a new one (C -> K).

    Only the head and the final LayerNorm stay trainable. Calling it again on its own result gives
    the same head with the same numbers. (The reference's report shows a "head before" of (768 -> 2)
    because its cell had been run twice.)

    Args:
        model: what `load_backbone` returns, its trunk, whose head is the tied embedding matrix, or
            a classifier, whose head is replaced. Its weights are shared, not copied.
        num_classes: K, at least 2.
        seed: seed of the new head's weights, N(0, 0.02).

    Raises:
        ConfigError: fewer than two classes, or `model` is none of these.
    """
    network = _network(model)
    if not isinstance(num_classes, int | np.integer) or num_classes < 2:
        raise ConfigError(f"num_classes: expected at least 2, got {num_classes!r}")
    trunk = network.transformer if isinstance(network, GPT2Classifier) else network
    classifier = GPT2Classifier(trunk, int(num_classes))
    nn.init.normal_(
        classifier.score.weight, std=0.02, generator=torch.Generator().manual_seed(seed)
    )
    for parameter in trunk.parameters():
        parameter.requires_grad_(False)
    for parameter in trunk.ln_f.parameters():
        parameter.requires_grad_(True)
    return classifier


def head_shape(model: Backbone | GPT2 | GPT2Classifier) -> tuple[int, int]:
    """Return the head's (inputs, outputs): (C, V) of a language model, (C, K) of a classifier.

    Raises:
        ConfigError: `model` is none of these.
    """
    network = _network(model)
    weight = network.score.weight if isinstance(network, GPT2Classifier) else network.wte.weight
    return int(weight.shape[1]), int(weight.shape[0])


def _network(model: object) -> GPT2 | GPT2Classifier:
    """The network of a backbone, or the network itself."""
    network = model.model if isinstance(model, Backbone) else model
    if isinstance(network, GPT2 | GPT2Classifier):
        return network
    advice = (
        f"load it first: load_backbone({str(model)!r})"
        if isinstance(model, str | Path)
        else "pass what load_backbone returns"
    )
    raise ConfigError(
        "model: expected a backbone of load_backbone, its network or a classifier, got "
        f"{model!r:.80} of type {type(model).__name__}; {advice}"
    )
