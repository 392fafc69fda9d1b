"""A trunk for inference whose blocks multiply in 8-bit integers.

LayerNorm, attention, the residual stream and the embeddings stay in fp32. Files always hold
full-precision weights: a saved model is quantized when it is loaded.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from tamis.compute.int8_kernel import Int8Product, row_levels
from tamis.errors import ConfigError
from tamis.gpt2.linear import Linear
from tamis.gpt2.linear_swap import ExchangedLinear, exchanged
from tamis.gpt2.model import GPT2


class Int8Linear(ExchangedLinear):
    """A linear layer with 8-bit weights.

    Its only tensors are the bias and a digest of the weights; the weights are packed for the int8
    engine.
    """

    bias: Tensor
    digest: Tensor
    _products: list[Int8Product]

    def __init__(self, linear: Linear, cut: int | None = None) -> None:
        """Create the layer; for `cut` see `ExchangedLinear`."""
        super().__init__(linear, cut)
        weight, bias = linear.weight.detach().float(), linear.bias.detach().float()
        self.register_buffer("bias", bias.clone())
        self._products = [Int8Product(weight[part], self.bias[part]) for part in self.parts()]
        mark = hashlib.sha256(weight.contiguous().numpy().data).digest()
        self.register_buffer("digest", torch.frombuffer(bytearray(mark), dtype=torch.uint8))

    def extra_repr(self) -> str:
        """Return sizes and levels, for printing a model."""
        return f"{super().extra_repr()}, levels={self._products[0].levels}"


def int8_trunk(trunk: GPT2) -> GPT2:
    """Return a trunk for inference whose blocks multiply in 8-bit integers; all else is shared.

    Raises:
        ConfigError: the trunk is not on the CPU, or this machine has no int8 engine.
    """
    where = trunk.wte.weight.device
    if where.type != "cpu":
        raise ConfigError(
            f"dtype: int8 runs on the CPU, but the model is on {where}; use --device cpu or "
            "--dtype bf16"
        )
    row_levels()
    return exchanged(trunk, Int8Linear)
