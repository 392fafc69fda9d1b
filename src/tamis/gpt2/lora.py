"""Low-rank adapters: the four matrices of every block as W + s B A, where only A and B are trained;
merged into plain weights afterwards.

Owns the adapter and the merge; which rank, and the training, is `tamis.training`. Pooling blocks
are left as they are. Sources: LoRA (Hu et al., arXiv:2106.09685); the scale alpha / sqrt(rank) is
rsLoRA's (Kalajdzievski, arXiv:2312.03732).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.errors import ConfigError
from tamis.gpt2.model import GPT2, Attention, Block, Linear

ALPHA = 8.0
"""Default alpha. Under rsLoRA the rate that suits one rank suits the others: s is 4 at rank 4, 2.8
at 8, 2 at 16, 1.4 at 32."""


class LoRALinear(Linear):
    """A linear layer whose matrix is W + s B A: W (out, in) is the trunk's own and frozen, A is
    (rank, in), B is (out, rank).

    `weight` is that sum, computed when asked for, so whoever slices the matrix (`Attention.last`)
    sees the adapted one. The parameters' names are those of a plain layer (`weight` is W, `bias`)
    and `lora_A`, `lora_B` beside them.
    """

    def __init__(
        self, base: Linear, rank: int, *, alpha: float, dropout: float, generator: torch.Generator
    ) -> None:
        """Takes over `base`'s parameters; arguments as in `add_lora`."""
        nn.Module.__init__(self)  # not nn.Linear's, which would make a matrix and set `weight`
        self.in_features, self.out_features = base.in_features, base.out_features
        self._parameters["weight"] = base._parameters["weight"]
        self.bias = base.bias
        # Rows of length about one keep the size of a normalised input; drawn on the CPU, so that
        # every device starts alike.
        start = torch.randn(rank, base.in_features, generator=generator) / math.sqrt(
            base.in_features
        )
        self.lora_A = nn.Parameter(start.to(self.base))
        self.lora_B = nn.Parameter(self.base.new_zeros(base.out_features, rank))
        self.scale = alpha / math.sqrt(rank)
        self.dropout = dropout

    @property
    def base(self) -> Tensor:
        """(out, in): W, the trunk's own matrix."""
        return cast(Tensor, self._parameters["weight"])

    @property
    def weight(self) -> Tensor:  # type: ignore[override] # nn.Linear declares a plain attribute; here it is computed
        """(out, in): W + s B A. While training, `dropout` leaves out the same input channels of the
        adapter for all tokens.
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
            return F.linear(hidden, self.weight, self.bias)
        # Two thin products instead of the sum: the gradient of W + s B A would cost a whole (out,
        # in) matrix's, half as much again.
        thin = F.linear(self._drop(hidden), self.lora_A) * self.scale  # (..., rank)
        return F.linear(hidden, self.base, self.bias) + F.linear(thin, self.lora_B)

    def _drop(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training)

    def merged(self) -> Linear:
        """A plain layer that computes the same; its parameters are frozen as this layer's own
        are.
        """
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
        """Shape, rank and scale."""
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
    """Put an adapter on the four matrices of every block and freeze everything else of the trunk.
    Changes this model.

    B starts at zero, so the trunk computes exactly what it did. Queries, keys and values share one
    adapter, as in peft's default for GPT-2: `rank` then means what it means there, with a third
    fewer weights than an adapter each. For C channels and an inner width of 4C that is 16 C rank
    weights a block.

    Args:
        model: a trunk; its pooling blocks, if any, stay without adapters.
        rank: columns of B, rows of A; at most the smallest side of the matrices.
        alpha: numerator of the scale s = alpha / sqrt(rank); `ALPHA` by default.
        dropout: share of the adapters' inputs left out while training.
        generator: a CPU generator, draws the As.

    Returns:
        The As and Bs, all that is trained now.

    Raises:
        ConfigError: a number is out of range, the trunk has adapters already, or it has no block
            that could take one.
    """
    alpha = ALPHA if alpha is None else alpha
    if not (math.isfinite(alpha) and alpha > 0):
        raise ConfigError(f"alpha must be a number above 0; got {alpha}")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout must be at least 0 and below 1; got {dropout}")
    if any(isinstance(layer, LoRALinear) for layer in model.modules()):
        raise ConfigError(
            "the trunk has low-rank adapters already; merge them with merge_lora first"
        )
    places = list(_places(model))
    if not places:
        raise ConfigError(
            "low-rank adapters need a trunk with at least one ordinary block; it has none"
        )
    most = min(min(layer.in_features, layer.out_features) for *_, layer in places)
    if not 1 <= rank <= most:
        raise ConfigError(
            f"the rank must be from 1 to {most}, the width of the trunk's narrowest matrix; got "
            f"{rank}"
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
    """Plain weights again: every adapted matrix becomes W + s B A, A and B are gone. Changes this
    model and returns it.

    Outputs stay the same to rounding. What was frozen stays frozen. A trunk without adapters is
    returned as it is.
    """
    for half, name, layer in _places(model):
        if isinstance(layer, LoRALinear):
            setattr(half, name, layer.merged())
    return model


def _places(model: GPT2) -> Iterator[tuple[nn.Module, str, Any]]:
    """Every matrix of every ordinary block, with what holds it and its name there."""
    for block in model.h:
        if isinstance(block, Block):
            for half in (block.attn, block.mlp):
                for name in (
                    ("c_attn", "c_proj") if isinstance(half, Attention) else ("c_fc", "c_proj")
                ):
                    yield half, name, getattr(half, name)
