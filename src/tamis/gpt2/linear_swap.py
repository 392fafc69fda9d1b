"""A trunk for inference whose blocks have other linear layers; embeddings, LayerNorms and pooling
are those of the trunk given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tamis.gpt2.model import GPT2, Block, Linear

MakeLinear = Callable[[Linear, int | None], nn.Module]
"""A layer in the place of another. The outputs before the number, where there is one, are asked for
apart from those behind it."""


class ExchangedLinear(nn.Module):
    """A linear layer whose weights lie in products of an engine's own, which are no tensors of the
    module.
    """

    _products: Sequence[Callable[[Tensor], Tensor]]

    def __init__(self, linear: Linear, cut: int | None = None) -> None:
        """`cut`: the outputs before it and those from there on lie apart, for `halves`."""
        super().__init__()
        self.in_features, self.out_features, self.cut = linear.in_features, linear.out_features, cut

    def parts(self) -> list[slice]:
        """The outputs that lie together."""
        cuts = [0, self.out_features] if self.cut is None else [0, self.cut, self.out_features]
        return [slice(begin, end) for begin, end in pairwise(cuts)]

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, in) fp32 -> (N, out) fp32."""
        found = [product(hidden) for product in self._products]
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def halves(self, first: Tensor, second: Tensor, cut: int) -> tuple[Tensor, Tensor]:
        """`first` through the outputs before `cut`, `second` through those from there on."""
        if cut != self.cut:
            return self(first)[:, :cut], self(second)[:, cut:]
        before, behind = self._products
        return before(first), behind(second)

    def extra_repr(self) -> str:
        """Sizes, for printing a model."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def exchanged(trunk: GPT2, make: MakeLinear) -> GPT2:
    """The trunk with what `make` gives for each linear layer of its blocks. What is shared stays as
    it is, trainable or not.
    """
    with torch.device("meta"):  # a shell without memory, to be filled
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
    # Only the last block asks for the queries of some tokens and the keys of all.
    attn.c_attn = make(block.attn.c_attn, trunk.config.n_embd if last else None)
    attn.c_proj = make(block.attn.c_proj, None)
    mlp.c_fc, mlp.c_proj = make(block.mlp.c_fc, None), make(block.mlp.c_proj, None)
    return other
