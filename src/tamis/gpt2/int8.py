"""A trunk for inference whose blocks multiply in eight bits.

LayerNorm, attention, the residual stream and the embeddings stay in fp32. Files are never written in eight bits: a saved model is
quantised when it is loaded.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise

import torch
from torch import Tensor, nn

from tamis.errors import ConfigError
from tamis.gpt2.exchange import exchanged
from tamis.gpt2.model import GPT2, Linear
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
    return exchanged(trunk, Int8Linear)
