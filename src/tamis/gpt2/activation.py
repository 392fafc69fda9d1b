"""GPT-2's GELU, forwards and backwards, at about half the cost of the tanh it is usually written with."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

GELU_ROWS = 128
"""Rows of the inner matrix that pass through GELU together: few enough that they stay in a core's cache between its steps."""
_SLOPE = 2.0 * math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715 * _SLOPE


def gelu(inner: Tensor) -> Tensor:
    """GPT-2's GELU of (N, inner): x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 x^3)), which is the tanh form with about half the work.

    Equal to torch's kernel, whose tanh is what costs, to rounding. The same bits with gradients and without; without, in place. In other
    types than fp32 the steps between would round, and there torch's kernel stays.
    """
    if inner.dtype != torch.float32 or inner.device.type != "cpu":
        return F.gelu(inner, approximate="tanh")
    if torch.is_grad_enabled() and inner.requires_grad:
        return cast("Tensor", _Gelu.apply(inner))  # type: ignore[no-untyped-call]
    for part in torch.split(inner, GELU_ROWS):
        part.mul_(_gate(part, torch.empty_like(part)))
    return inner


def _gate(part: Tensor, out: Tensor) -> Tensor:
    """The sigmoid of x * (slope + cubic x^2), written to `out`."""
    return torch.addcmul(part.new_full((), _SLOPE), part, part, value=_CUBIC, out=out).mul_(part).sigmoid_()


class _Gelu(torch.autograd.Function):
    """`gelu` where its gradient is wanted: y = x s, dy/dx = s + x s (1 - s) (slope + 3 cubic x^2)."""

    @staticmethod
    def forward(ctx: Any, inner: Tensor) -> Tensor:
        gates, out = torch.empty_like(inner), torch.empty_like(inner)
        for x, gate, y in zip(*(torch.split(t, GELU_ROWS) for t in (inner, gates, out)), strict=True):
            torch.mul(x, _gate(x, gate), out=y)
        ctx.save_for_backward(inner, gates)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        inner, gates = ctx.saved_tensors
        out = torch.empty_like(inner)
        for x, gate, above, below in zip(*(torch.split(t, GELU_ROWS) for t in (inner, gates, gradient, out)), strict=True):
            slope = torch.addcmul(x.new_full((), _SLOPE), x, x, value=3.0 * _CUBIC).mul_(x).mul_(gate)
            slope.addcmul_(slope, gate, value=-1.0).add_(gate)
            torch.mul(slope, above, out=below)
        return out
