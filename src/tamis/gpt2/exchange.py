"""A trunk for inference whose blocks have other linear layers; embeddings, LayerNorms and pooling are those of the trunk given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tamis.gpt2.model import GPT2, Block, Linear

MakeLinear = Callable[[Linear, int | None], nn.Module]
"""A layer in the place of another. The outputs before the number, where there is one, are asked for apart from those behind it."""


def exchanged(trunk: GPT2, make: MakeLinear) -> GPT2:
    """The trunk with what `make` gives for each linear layer of its blocks. What is shared stays as it is, trainable or not."""
    with torch.device("meta"):  # a shell without memory, to be filled
        other = GPT2(trunk.config)
    other.wte, other.wpe, other.ln_f = trunk.wte, trunk.wpe, trunk.ln_f
    last = len(trunk.h) - 1
    blocks = (_exchanged(trunk, block, make, last=i == last) if isinstance(block, Block) else block for i, block in enumerate(trunk.h))
    other.h = nn.ModuleList(blocks)
    return other.eval()


def _exchanged(trunk: GPT2, block: Block, make: MakeLinear, *, last: bool) -> Block:
    with torch.device("meta"):
        other = Block(trunk.config)
    other.ln_1, other.ln_2 = block.ln_1, block.ln_2
    attn: Any = other.attn
    mlp: Any = other.mlp
    # Only the last block asks for the queries of some tokens and the keys of all.
    attn.c_attn = make(block.attn.c_attn, trunk.config.n_embd if last else None)
    attn.c_proj = make(block.attn.c_proj, None)
    mlp.c_fc, mlp.c_proj = make(block.mlp.c_fc, None), make(block.mlp.c_proj, None)
    return other
