"""Low-rank adapters (LoRA): the four matrices of every block become W + s B A. Only A and B are
trained, then merged into plain weights.

Owns the adapter and the merge; `tamis.training` chooses the rank and trains. Pooling blocks are not
changed. Sources: LoRA (Hu et al., arXiv:2106.09685); the scale alpha / sqrt(rank) is that of rsLoRA
(Kalajdzievski, arXiv:2312.03732).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.errors import ConfigError
from tamis.gpt2.linear import Linear, linear
from tamis.gpt2.model import GPT2, Attention, Block

ALPHA = 8.0
"""Default alpha. With rsLoRA, one learning rate suits all ranks: s is 4 at rank 4, 2.8 at 8, 2 at
16, 1.4 at 32."""


class LoRALinear(Linear):
    """A linear layer with the matrix W + s B A.

    W, (out, in), is the trunk's frozen matrix; A is (rank, in), B is (out, rank). `weight` computes
    the sum on access, so code that slices the matrix (`Attention.last`) sees the adapted one. The
    parameter names are those of a plain layer (`weight` is W, `bias`) plus `lora_A` and `lora_B`.
    """

    def __init__(
        self, base: Linear, rank: int, *, alpha: float, dropout: float, generator: torch.Generator
    ) -> None:
        """Take over the parameters of `base`; for the other arguments see `add_lora`."""
        nn.Module.__init__(self)  # not nn.Linear's, which would allocate a matrix and set `weight`
        self.in_features, self.out_features = base.in_features, base.out_features
        self._parameters["weight"] = base._parameters["weight"]
        self.bias = base.bias
        # Rows of norm about one keep the scale of a normalized input; drawn on the CPU, so that
        # every device starts from the same values.
        start = torch.randn(rank, base.in_features, generator=generator) / math.sqrt(
            base.in_features
        )
        self.lora_A = nn.Parameter(start.to(self.base))
        self.lora_B = nn.Parameter(self.base.new_zeros(base.out_features, rank))
        self.scale = alpha / math.sqrt(rank)
        self.dropout = dropout

    @property
    def base(self) -> Tensor:
        """W, the trunk's own matrix, (out, in)."""
        return cast(Tensor, self._parameters["weight"])

    @property
    def weight(self) -> Tensor:  # type: ignore[override] # nn.Linear declares a plain attribute; here it is computed
        """W + s B A, (out, in). In training, `dropout` drops the same input channels of the adapter
        for all tokens.
        """
        return self._sum(
            self.lora_A * self._drop(self.lora_A.new_ones(self.in_features))
            if self.dropout
            else self.lora_A
        )

    def _sum(self, inner: Tensor) -> Tensor:
        return self.base + (self.scale * self.lora_B) @ inner

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if not torch.is_grad_enabled():
            return linear(hidden, self.weight, self.bias)
        # Two thin products instead of the sum: the gradient of W + s B A would need a full (out,
        # in) matrix, which costs half as much again.
        thin = F.linear(self._drop(hidden), self.lora_A) * self.scale  # (..., rank)
        return linear(hidden, self.base, self.bias) + F.linear(thin, self.lora_B)

    def _drop(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training)

    def merged(self) -> Linear:
        """Return a plain layer that computes the same; frozen parameters stay frozen."""
        plain = Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device="meta"
        )
        with torch.no_grad():
            plain.weight = nn.Parameter(
                self._sum(self.lora_A), requires_grad=self.base.requires_grad
            )
        plain.bias = self.bias
        return plain.train(self.training)

    def extra_repr(self) -> str:
        """Return shape, rank and scale, for printing a model."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"rank={len(self.lora_A)}, scale={self.scale:.3g}"
        )


def add_lora(
    model: GPT2,
    rank: int,
    *,
    alpha: float | None = None,
    dropout: float = 0.0,
    generator: torch.Generator,
) -> list[nn.Parameter]:
    """Add an adapter to the four matrices of every block, and freeze the trunk, in place.

    B starts at zero, so the output does not change at first. Queries, keys and values share one
    adapter, as in peft's default for GPT-2, so `rank` means the same as in peft, with a third fewer
    weights than separate adapters. For C channels and an inner width of 4C, a block has 16 C rank
    adapter weights.

    Args:
        model: a trunk; pooling blocks get no adapters.
        rank: columns of B and rows of A; at most the smallest side of the matrices.
        alpha: numerator of the scale s = alpha / sqrt(rank); default: `ALPHA`.
        dropout: share of the adapters' inputs dropped in training.
        generator: a CPU generator that draws the A matrices.

    Returns:
        The A and B matrices, the only trainable parameters.

    Raises:
        ConfigError: a number is out of range, the trunk already has adapters, or it has no block
            that can have one.
    """
    alpha = ALPHA if alpha is None else alpha
    if not (math.isfinite(alpha) and alpha > 0):
        raise ConfigError(f"alpha: expected a number above 0, got {alpha}")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout: expected a number from 0 to below 1, got {dropout}")
    if any(isinstance(layer, LoRALinear) for layer in model.modules()):
        raise ConfigError(
            "the trunk already has low-rank adapters; merge them with merge_lora first"
        )
    places = list(_places(model))
    if not places:
        raise ConfigError(
            "low-rank adapters need a trunk with at least one ordinary block; it has none"
        )
    most = min(min(layer.in_features, layer.out_features) for *_, layer in places)
    if not 1 <= rank <= most:
        raise ConfigError(
            f"rank: expected 1 to {most}, the smallest side of the trunk's matrices; got {rank}"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    trained: list[nn.Parameter] = []
    for half, name, layer in places:
        adapted = LoRALinear(layer, rank, alpha=alpha, dropout=dropout, generator=generator).train(
            layer.training
        )
        setattr(half, name, adapted)
        trained += [adapted.lora_A, adapted.lora_B]
    return trained


def merge_lora(model: GPT2) -> GPT2:
    """Merge the adapters into plain weights, W + s B A, in place; returns the model.

    Outputs do not change, up to rounding. Frozen weights stay frozen. A trunk without adapters is
    returned unchanged.
    """
    for half, name, layer in _places(model):
        if isinstance(layer, LoRALinear):
            setattr(half, name, layer.merged())
    return model


def _places(model: GPT2) -> Iterator[tuple[nn.Module, str, Any]]:
    """Yield every matrix of every ordinary block, with its parent module and its name there."""
    for block in model.h:
        if isinstance(block, Block):
            for half in (block.attn, block.mlp):
                for name in (
                    ("c_attn", "c_proj") if isinstance(half, Attention) else ("c_fc", "c_proj")
                ):
                    yield half, name, getattr(half, name)
