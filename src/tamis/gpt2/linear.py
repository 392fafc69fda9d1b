"""The linear layers of the network, and their fp32 products on processors where oneDNN is faster.

torch multiplies fp32 matrices with MKL, which uses AVX-512 only on Intel's processors. On others
that have it, oneDNN, the other library in torch, takes less than half the time (docs/speed.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.compute.onednn_kernel import is_faster, product


class Linear(nn.Linear):
    """nn.Linear without initialization, which would cost a second.

    The weights are loaded or set by `initialise`.
    """

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return linear(rows, self.weight, self.bias)

    def halves(self, first: Tensor, second: Tensor, cut: int) -> tuple[Tensor, Tensor]:
        """Apply the outputs before `cut` to `first`, and those from `cut` on to `second`."""
        weight, bias = self.weight, self.bias
        return linear(first, weight[:cut], bias[:cut]), linear(second, weight[cut:], bias[cut:])


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return rows W^T + b, as `torch.nn.functional.linear` does.

    Args:
        rows: (..., in).
        weight: (out, in).
        bias: (out,), or None.

    Returns:
        (..., out). In fp32 it may differ from torch's by rounding, as may its gradients.
    """
    if not is_faster(rows, weight):
        return F.linear(rows, weight, bias)
    if torch.is_grad_enabled() and any(
        one is not None and one.requires_grad for one in (rows, weight, bias)
    ):
        found: Tensor = _Linear.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
        return found
    return product(rows, weight, bias)


class _Linear(torch.autograd.Function):
    """(N, in) rows, (out, in) weights and (out,) bias -> (N, out), with oneDNN's products in the
    gradient too.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return product(rows, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        outer = outputs[0].contiguous()
        to_rows, to_weight, to_bias = ctx.needs_input_grad
        return (
            product(outer, weight.t()) if to_rows else None,
            product(outer.t(), rows.t()) if to_weight else None,
            outer.sum(0) if to_bias else None,
        )
