"""Question 8 of the reference: replaces GPT-2's output head by one for classes and freezes
everything except it and the last LayerNorm.
"""

from __future__ import annotations

import torch
from torch import nn

from tamis.errors import ConfigError
from tamis.gpt2.model import GPT2, GPT2Classifier


def replace_head(
    model: GPT2 | GPT2Classifier, num_classes: int, *, seed: int = 42
) -> GPT2Classifier:
    """Question 8 of the reference: replace GPT-2's head (C -> V) by a new one (C -> K).

    Only the head and the final LayerNorm stay trainable. Calling it again on its own result gives
    the same head with the same numbers. (The reference's report shows a "head before" of (768 -> 2)
    because its cell had been run twice.)

    Args:
        model: a trunk, whose head is its tied embedding matrix, or a classifier, whose head is
            replaced.
        num_classes: K, at least 2.
        seed: seed of the new head's weights, N(0, 0.02).

    Raises:
        ConfigError: fewer than two classes.
    """
    if num_classes < 2:
        raise ConfigError(f"num_classes: expected at least 2, got {num_classes}")
    trunk = model.transformer if isinstance(model, GPT2Classifier) else model
    classifier = GPT2Classifier(trunk, num_classes)
    nn.init.normal_(
        classifier.score.weight, std=0.02, generator=torch.Generator().manual_seed(seed)
    )
    for parameter in trunk.parameters():
        parameter.requires_grad_(False)
    for parameter in trunk.ln_f.parameters():
        parameter.requires_grad_(True)
    return classifier


def head_shape(model: GPT2 | GPT2Classifier) -> tuple[int, int]:
    """Return the head's (inputs, outputs): (C, V) of a language model, (C, K) of a classifier."""
    weight = model.score.weight if isinstance(model, GPT2Classifier) else model.wte.weight
    return int(weight.shape[1]), int(weight.shape[0])
