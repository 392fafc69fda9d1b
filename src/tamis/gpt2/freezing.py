"""A trunk made ready for tuning: how many blocks it has, how it ends and what of it is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.gpt2.model import GPT2, GPT2Classifier, MeanPoolingBlock
from tamis.gpt2.pooling import add_mean_pooling


@dataclass(frozen=True)
class Pooling:
    """Where a head reads."""

    layer: int
    """blocks that are kept"""
    mode: str
    """one of head/layer_selection.py's POSITIONS"""


def with_pooling(recipe: Recipe, trunk: GPT2) -> GPT2:
    """The trunk with as many blocks as the recipe says, ending in a pooling block where the head
    reads the mean. Changes it.

    Raises:
        ConfigError: the backbone has fewer blocks, or the recipe asks for what only an exact head
            can read.
    """
    if recipe.text.pooling == "mean_and_last":
        raise ConfigError(
            "text.pooling = mean_and_last is for the exact head (tune = head); use mean or "
            "last_token"
        )
    if recipe.text.layers != "auto":
        check_layer(recipe.text.layers, trunk)
        keep_layers(trunk, recipe.text.layers)
    if recipe.text.pooling in ("mean", "attention") and not isinstance(
        trunk.h[-1], MeanPoolingBlock
    ):
        return add_mean_pooling(trunk)
    return trunk


def check_layer(layer: int, trunk: GPT2) -> None:
    """Refuse more blocks than there are.

    Raises:
        ConfigError: the backbone has fewer.
    """
    if layer > len(trunk.h):
        raise ConfigError(f"text.layers = {layer}: the backbone has {len(trunk.h)} blocks")


def trained_parameters(model: GPT2Classifier) -> int:
    """Number of weights that are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def freeze(model: GPT2Classifier, *, head_only: bool = False, blocks: int | None = None) -> int:
    """Leave trainable: head and final LayerNorm, also the last `blocks` blocks, or (neither given)
    everything.

    Returns the lowest trained block's number.
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
    """The trunk with its first `layer` blocks alone; the final LayerNorm stays. Changes the model
    given.
    """
    if layer < len(model.h):
        model.h = model.h[:layer]
        model.config = replace(model.config, n_layer=layer)
    return model


def apply_pooling(model: GPT2, pooling: Pooling, factor: float) -> GPT2:
    """The trunk ending as a reading says: cut, and with a pooling block of that factor (0: none).
    Changes the model given.
    """
    keep_layers(model, pooling.layer)
    if factor:
        add_mean_pooling(model)
        block = model.h[-1]
        assert isinstance(block, MeanPoolingBlock)
        block.factor = factor
    return model
