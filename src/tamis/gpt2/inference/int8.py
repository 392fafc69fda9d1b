"""A trunk for inference whose blocks multiply in eight bits.

LayerNorm, attention, the residual stream and the embeddings stay in fp32. Files are never written
in eight bits: a saved model is quantised when it is loaded.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from tamis.compute.int8_kernel import Int8Product, row_levels
from tamis.errors import ConfigError
from tamis.gpt2.linear_swap import ExchangedLinear, exchanged
from tamis.gpt2.model import GPT2, Linear


class Int8Linear(ExchangedLinear):
    """A linear layer of eight-bit weights. Its only tensors are the bias and a digest of the
    weights, which are packed for the engine.
    """

    bias: Tensor
    digest: Tensor
    _products: list[Int8Product]

    def __init__(self, linear: Linear, cut: int | None = None) -> None:
        """`cut`: as `ExchangedLinear`'s."""
        super().__init__(linear, cut)
        weight, bias = linear.weight.detach().float(), linear.bias.detach().float()
        self.register_buffer("bias", bias.clone())
        self._products = [Int8Product(weight[part], self.bias[part]) for part in self.parts()]
        mark = hashlib.sha256(weight.contiguous().numpy().data).digest()
        self.register_buffer("digest", torch.frombuffer(bytearray(mark), dtype=torch.uint8))

    def extra_repr(self) -> str:
        """Sizes and levels, for printing a model."""
        return f"{super().extra_repr()}, levels={self._products[0].levels}"


def int8_trunk(trunk: GPT2) -> GPT2:
    """A trunk for inference whose blocks multiply in eight bits; embeddings, LayerNorms and pooling
    are shared with the one given.

    Raises:
        ConfigError: the trunk is not on the processor, or there is no engine for such products
            here.
    """
    where = trunk.wte.weight.device
    if where.type != "cpu":
        raise ConfigError(
            f"dtype: int8 runs on the processor, the model is on {where}; take --device cpu or "
            "--dtype bf16"
        )
    row_levels()
    return exchanged(trunk, Int8Linear)
