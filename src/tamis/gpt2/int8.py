"""A trunk for inference whose blocks multiply in eight bits.

LayerNorm, attention, the residual stream and the embeddings stay in fp32. Files are never written in eight bits: a saved model is
quantised when it is loaded.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tamis.errors import ConfigError
from tamis.gpt2.model import GPT2, Block, Linear
from tamis.int8_engine import Int8Product, row_levels


class Int8Linear(nn.Module):
    """A linear layer of eight-bit weights. Its only tensors are the bias and a digest of the weights, which are packed for the engine."""

    bias: Tensor
    digest: Tensor

    def __init__(self, linear: Linear, cut: int | None = None) -> None:
        """`cut`: the outputs before it and those from there on are packed apart, for `halves`."""
        super().__init__()
        self.in_features, self.out_features, self.cut = linear.in_features, linear.out_features, cut
        weight, bias = linear.weight.detach().float(), linear.bias.detach().float()
        cuts = [0, self.out_features] if cut is None else [0, cut, self.out_features]
        self.register_buffer("bias", bias.clone())
        self._products = [Int8Product(weight[a:b], self.bias[a:b]) for a, b in pairwise(cuts)]
        mark = hashlib.sha256(weight.contiguous().numpy().tobytes()).digest()
        self.register_buffer("digest", torch.frombuffer(bytearray(mark), dtype=torch.uint8))

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, in) fp32 -> (N, out) fp32."""
        parts = [product(hidden) for product in self._products]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def halves(self, first: Tensor, second: Tensor, cut: int) -> tuple[Tensor, Tensor]:
        """`first` through the outputs before `cut`, `second` through those from there on."""
        if cut != self.cut:
            return self(first)[:, :cut], self(second)[:, cut:]
        before, behind = self._products
        return before(first), behind(second)

    def extra_repr(self) -> str:
        """Sizes, for printing a model."""
        return f"in_features={self.in_features}, out_features={self.out_features}, levels={self._products[0].levels}"


def int8_trunk(trunk: GPT2) -> GPT2:
    """A trunk for inference whose blocks multiply in eight bits; embeddings, LayerNorms and pooling are shared with the one given.

    Raises:
        ConfigError: the trunk is not on the processor, or there is no engine for such products here.
    """
    where = trunk.wte.weight.device
    if where.type != "cpu":
        raise ConfigError(f"dtype: int8 runs on the processor, the model is on {where}; take --device cpu or --dtype bf16")
    row_levels()
    with torch.device("meta"):  # a shell without memory, to be filled
        other = GPT2(trunk.config)
    other.wte, other.wpe = trunk.wte, trunk.wpe
    other.ln_f = trunk.ln_f
    last = len(trunk.h) - 1
    blocks = (_int8_block(trunk, block, last=i == last) if isinstance(block, Block) else block for i, block in enumerate(trunk.h))
    other.h = nn.ModuleList(blocks)
    return other.requires_grad_(False).eval()


def _int8_block(trunk: GPT2, block: Block, *, last: bool) -> Block:
    with torch.device("meta"):
        other = Block(trunk.config)
    other.ln_1, other.ln_2 = block.ln_1, block.ln_2
    attn: Any = other.attn
    mlp: Any = other.mlp
    # Only the last block asks for the queries of some tokens and the keys of all.
    attn.c_attn = Int8Linear(block.attn.c_attn, trunk.config.n_embd if last else None)
    attn.c_proj = Int8Linear(block.attn.c_proj)
    mlp.c_fc, mlp.c_proj = Int8Linear(block.mlp.c_fc), Int8Linear(block.mlp.c_proj)
    return other
