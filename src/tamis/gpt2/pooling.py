"""Mean pooling as an additional GPT-2 block: writes its standard form and recognizes it.

`GPT2ForSequenceClassification` reads only the last token. This block adds the mean over all tokens
to the last token, so any GPT-2 loader gets the scores of a mean-pooled classifier from standard
files.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from tamis.gpt2.model import GPT2, Block, GPT2Config, MeanPoolingBlock

LARGEST_FACTOR, SMALLEST_FACTOR = 2.0**15, 2.0**7
"""With the largest, the token's own state is negligible beside the mean (cosine above 0.9999). With
the smallest it is not: only a backbone whose mean has numbers above 468 gets it, beside which the
state is small."""
_FP16_RANGE = 60_000.0
"""Largest number in the block's output, with room below fp16's largest, 65,504, for the state that
it is added to."""


def pooling_factor(norm: nn.LayerNorm) -> float:
    """Return a, the factor of the mean: the largest power of two with which the output stays in the
    range of fp16 for every text, from `SMALLEST_FACTOR` to `LARGEST_FACTOR`.

    A normalized state of C channels has no number above sqrt(C - 1), so the weights of `norm` bound
    its output, and the mean is never above that bound. Powers of two are exact in bf16.

    Args:
        norm: the final LayerNorm of the trunk, which the block takes over.
    """
    weight, bias = norm.weight.detach().double(), norm.bias.detach().double()
    bound = float((weight.abs() * max(1, len(weight) - 1) ** 0.5 + bias.abs()).max())
    if not 0 < bound < math.inf:
        return LARGEST_FACTOR
    factor = 2.0 ** math.floor(math.log2(_FP16_RANGE / bound))
    return min(max(factor, SMALLEST_FACTOR), LARGEST_FACTOR)


def add_mean_pooling(model: GPT2) -> GPT2:
    """Append the pooling block, in place; returns the same model, one block deeper.

    Its ln_1 takes over the old ln_f; the new ln_f is a LayerNorm without learned weights. The
    output of the last token is LN(h / a + mean over tokens of the old ln_f(h)), where a is
    `pooling_factor`.
    """
    block = MeanPoolingBlock(model.config, pooling_factor(model.ln_f))
    block.ln_1.load_state_dict(model.ln_f.state_dict())
    block.to(model.ln_f.weight.device)
    model.h.append(block)
    with torch.no_grad():
        model.ln_f.weight.fill_(1.0)
        model.ln_f.bias.zero_()
    model.config = replace(model.config, n_layer=len(model.h))
    return model


def written_out(block: MeanPoolingBlock, config: GPT2Config) -> Block:
    """Return the same block as an ordinary GPT-2 block with all its matrices."""
    full = Block(config)
    channels = config.n_embd
    eye = torch.eye(channels, dtype=block.ln_1.weight.dtype)
    with torch.no_grad():
        for parameter in full.parameters():
            parameter.zero_()
        full.ln_1.load_state_dict(block.ln_1.state_dict())
        full.ln_2.weight.fill_(1.0)
        full.attn.c_attn.weight[2 * channels :] = (
            eye  # values are the identity; queries and keys stay zero
        )
        full.attn.c_proj.weight.copy_(block.factor * eye)
    return full.to(block.ln_1.weight.device)


def recognize(state: dict[str, Tensor], config: GPT2Config) -> float | None:
    """Return the factor a if the last block of `state` is a mean-pooling block, else None.

    `state` has the parameter names of `GPT2`, and `Linear` orientation.
    """
    prefix, channels = f"h.{config.n_layer - 1}.", config.n_embd
    value, projection = state[f"{prefix}attn.c_attn.weight"], state[f"{prefix}attn.c_proj.weight"]
    factor = float(projection[0, 0])
    eye = torch.eye(channels, dtype=value.dtype)
    zero = (
        value[: 2 * channels],
        state[f"{prefix}attn.c_attn.bias"],
        state[f"{prefix}attn.c_proj.bias"],
        state[f"{prefix}mlp.c_proj.weight"],
        state[f"{prefix}mlp.c_proj.bias"],
    )
    exact = (
        factor > 0
        and torch.equal(value[2 * channels :], eye)
        and torch.equal(projection, factor * eye.to(projection.dtype))
    )
    return factor if exact and not any(t.any() for t in zero) else None


def unfolded(model: GPT2, *, trainable: bool = False) -> GPT2:
    """Replace pooling blocks by ordinary blocks, in place; returns the same trunk.

    With `trainable`, queries and the MLP's first matrix are drawn from N(0, 0.02) with torch's
    global generator; keys and the MLP's second matrix stay zero. The block's output does not
    change, and gradients can flow: a product of two zero matrices would never get a gradient.
    """
    for i, block in enumerate(model.h):
        if isinstance(block, MeanPoolingBlock):
            full = written_out(block, model.config)
            if trainable:
                torch.nn.init.normal_(full.attn.c_attn.weight[: model.config.n_embd], std=0.02)
                torch.nn.init.normal_(full.mlp.c_fc.weight, std=0.02)
            model.h[i] = full
    return model
