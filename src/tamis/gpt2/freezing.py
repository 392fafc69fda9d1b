"""Preparation of a trunk for training: number of blocks, pooling, and which weights are trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.gpt2.model import GPT2, GPT2Classifier, MeanPoolingBlock
from tamis.gpt2.pooling import add_mean_pooling


@dataclass(frozen=True)
class Pooling:
    """The layer and position that a head reads."""

    layer: int
    """number of blocks that are kept"""
    mode: str
    """one of POOLING_MODES in head/layer_selection.py"""


def with_pooling(recipe: Recipe, trunk: GPT2) -> GPT2:
    """Cut the trunk to the recipe's blocks, and add a block for mean pooling, in place.

    Raises:
        ConfigError: the backbone has fewer blocks.
    """
    if recipe.text.layers != "auto":
        check_layer(recipe.text.layers, trunk)
        keep_layers(trunk, recipe.text.layers)
    if recipe.text.pooling in ("mean", "attention") and not isinstance(
        trunk.h[-1], MeanPoolingBlock
    ):
        return add_mean_pooling(trunk)
    return trunk


def check_layer(layer: int, trunk: GPT2) -> None:
    """Check that the trunk has at least `layer` blocks.

    Raises:
        ConfigError: the trunk has fewer.
    """
    if layer > len(trunk.h):
        raise ConfigError(f"text.layers = {layer}: the backbone has only {len(trunk.h)} blocks")


def trained_parameters(model: GPT2Classifier) -> int:
    """Return the number of trainable weights."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def freeze(model: GPT2Classifier, *, head_only: bool = False, blocks: int | None = None) -> int:
    """Make trainable: head and final LayerNorm, the last `blocks` blocks, or all (default).

    Returns the index of the lowest trainable block.
    """
    trunk = model.transformer
    start = len(trunk.h) if head_only else 0 if blocks is None else len(trunk.h) - blocks
    whole = not head_only and blocks is None
    for parameter in model.parameters():
        parameter.requires_grad_(whole)
    for module in (*trunk.h[start:], trunk.ln_f, model.score):
        for parameter in module.parameters():
            parameter.requires_grad_(True)
    return start


def keep_layers(model: GPT2, layer: int) -> GPT2:
    """Keep only the first `layer` blocks and the final LayerNorm, in place."""
    if layer < len(model.h):
        model.h = model.h[:layer]
        model.config = replace(model.config, n_layer=layer)
    return model


def apply_pooling(model: GPT2, pooling: Pooling) -> GPT2:
    """Cut the trunk as `pooling` says and append a pooling block for the mean, in place."""
    keep_layers(model, pooling.layer)
    if pooling.mode == "mean":
        add_mean_pooling(model)
    return model
