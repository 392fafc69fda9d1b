"""Variants of GPT-2 that transformers can save: other activations, and attention scores that are
scaled by other factors.

Factors of attention scores are folded into the queries when a checkpoint is read. The model then
computes the standard scores, and a saved model needs no variant. Source: transformers 5.24,
models/gpt2/modeling_gpt2.py and activations.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from tamis.errors import CheckpointError
from tamis.gpt2.model import GPT2Config

ACTIVATIONS = {
    **dict.fromkeys(
        ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python_tanh"),
        "gelu_new",
    ),
    **dict.fromkeys(("gelu", "gelu_python"), "gelu"),
    "relu": "relu",
    **dict.fromkeys(("silu", "swish"), "silu"),
}
"""Names of activations in transformers, and the name of the same function in `GPT2Config`."""
_BOOLEANS = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,  # the same numbers in fp32
    "add_cross_attention": False,
}


def activation_of(raw: dict[str, Any], path: Path) -> str:
    """Return the activation of a `config.json`, and check its other variants.

    Raises:
        CheckpointError: a variant is not supported, or is not a boolean.
    """
    for key, standard in _BOOLEANS.items():
        if not isinstance(raw.get(key, standard), bool):
            raise CheckpointError(f"{path}: {key}: expected true or false, got {raw[key]!r}")
    if raw.get("add_cross_attention", False):
        raise CheckpointError(
            f"{path}: add_cross_attention: expected false, got true; the decoder of an "
            "encoder-decoder model cannot be used as a classifier"
        )
    name = raw.get("activation_function", "gelu_new")
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise CheckpointError(
            f"{path}: activation_function: expected one of {sorted(ACTIVATIONS)}, got {name!r}; "
            "other variants are not supported"
        )
    return ACTIVATIONS[name]


def fold_attention_scale(
    state: dict[str, Tensor], config: GPT2Config, raw: dict[str, Any]
) -> dict[str, Tensor]:
    """Return the trunk's weights with the factors of attention scores folded into the queries.

    Args:
        state: this package's names and orientation.
        config: sizes.
        raw: the `config.json`.
    """
    channels = config.n_embd
    unscaled = not raw.get("scale_attn_weights", True)
    by_layer = raw.get("scale_attn_by_inverse_layer_idx", False)
    if not (unscaled or by_layer):
        return state
    folded = dict(state)
    for layer in range(config.n_layer):
        factor = (channels / config.n_head) ** 0.5 if unscaled else 1.0
        if by_layer:
            factor /= layer + 1
        for part in ("weight", "bias"):
            name = f"h.{layer}.attn.c_attn.{part}"
            tensor = folded[name].clone()
            tensor[:channels] *= factor
            folded[name] = tensor
    return folded
