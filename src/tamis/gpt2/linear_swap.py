"""Replaces the linear layers of a trunk's blocks for inference.

Embeddings, LayerNorms and pooling are shared with the original trunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tamis.gpt2.linear import Linear
from tamis.gpt2.model import GPT2, Block

MakeLinear = Callable[[Linear, int | None], nn.Module]
"""Makes the replacement of a layer. If a number is given, the outputs before it and from it on are
requested separately."""


class ExchangedLinear(nn.Module):
    """A linear layer whose weights are held by a matrix engine, not as tensors of the module."""

    _products: Sequence[Callable[[Tensor], Tensor]]

    def __init__(self, linear: Linear, cut: int | None = None) -> None:
        """Create the layer; with `cut`, the outputs before it and from it on are stored separately,
        for `halves`.
        """
        super().__init__()
        self.in_features, self.out_features, self.cut = linear.in_features, linear.out_features, cut

    def parts(self) -> list[slice]:
        """Return the slices of outputs that are stored together."""
        cuts = [0, self.out_features] if self.cut is None else [0, self.cut, self.out_features]
        return [slice(begin, end) for begin, end in pairwise(cuts)]

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, in) fp32 -> (N, out) fp32."""
        found = [product(hidden) for product in self._products]
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def halves(self, first: Tensor, second: Tensor, cut: int) -> tuple[Tensor, Tensor]:
        """Apply the outputs before `cut` to `first`, and those from `cut` on to `second`."""
        if cut != self.cut:
            return self(first)[:, :cut], self(second)[:, cut:]
        before, behind = self._products
        return before(first), behind(second)

    def extra_repr(self) -> str:
        """Return the sizes, for printing a model."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def exchanged(trunk: GPT2, make: MakeLinear) -> GPT2:
    """Return the trunk with each linear layer of its blocks replaced by what `make` returns for it.

    Shared parameters are not changed and keep `requires_grad`.
    """
    with torch.device("meta"):  # an empty shell without memory
        other = GPT2(trunk.config)
    other.wte, other.wpe, other.ln_f = trunk.wte, trunk.wpe, trunk.ln_f
    last = len(trunk.h) - 1
    blocks = (
        _exchanged(trunk, block, make, last=i == last) if isinstance(block, Block) else block
        for i, block in enumerate(trunk.h)
    )
    other.h = nn.ModuleList(blocks)
    return other.eval()


def _exchanged(trunk: GPT2, block: Block, make: MakeLinear, *, last: bool) -> Block:
    with torch.device("meta"):
        other = Block(trunk.config)
    other.ln_1, other.ln_2 = block.ln_1, block.ln_2
    attn: Any = other.attn
    mlp: Any = other.mlp
    # Only the last block requests the queries of some tokens and the keys of all.
    attn.c_attn = make(block.attn.c_attn, trunk.config.n_embd if last else None)
    attn.c_proj = make(block.attn.c_proj, None)
    mlp.c_fc, mlp.c_proj = make(block.mlp.c_fc, None), make(block.mlp.c_proj, None)
    return other
