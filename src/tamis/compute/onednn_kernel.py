"""fp32 matrix products by oneDNN: with weights in its own layout, so that no product has to reorder
them, and with plain weights.

Owns the products and the checks whether they are available and worth it. `tamis.gpt2.linear` and
`tamis.gpt2.inference.onednn` build layers from them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from tamis.compute.processor import vendor

if TYPE_CHECKING:
    from torch import Tensor


class PrepackedProduct:
    """(N, in) fp32 -> (N, out) fp32. The layout depends on the machine and process; it cannot be
    copied or saved.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Store (out, in) weights and (out,) bias, fp32, on the CPU."""
        import torch

        self._laid, self.bias = torch.ops.mkldnn._reorder_linear_weight(weight, None), bias

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply and add the bias; without gradient."""
        import torch

        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._laid, self.bias, "none", [], ""
        )
        return product

    @property
    def weight(self) -> Tensor:
        """Return a copy of the weights in the usual layout, (out, in)."""
        dense: Tensor = self._laid.to_dense()
        return dense


def prepacking_is_here() -> bool:
    """Return whether this build of torch has oneDNN products."""
    import torch

    return bool(torch.backends.mkldnn.is_available()) and hasattr(  # type: ignore[no-untyped-call]
        torch.ops.mkldnn, "_linear_pointwise"
    )


MKL_VENDOR = "GenuineIntel"
"""The vendor on whose processors MKL uses all vector instructions that there are."""
LEAST_MULTIPLICATIONS = 1 << 20
"""Smaller products cost oneDNN more than MKL: its preparation takes longer than they do."""


@cache
def beats_mkl() -> bool:
    """Return whether oneDNN multiplies fp32 matrices faster than MKL here: on a processor with
    AVX-512 that is not Intel's, for which MKL uses AVX2.

    It follows from the processor alone. A measurement could come out differently from one day to
    the next, and so would the last digits of a training.
    """
    import torch

    return (
        prepacking_is_here()
        and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and vendor() not in ("", MKL_VENDOR)
    )


def is_faster(rows: Tensor, weight: Tensor) -> bool:
    """Return whether `product` is faster than torch's own product.

    Args:
        rows: (..., in).
        weight: (out, in).
    """
    import torch

    return (
        rows.dim() == 2
        and rows.dtype == weight.dtype == torch.float32
        and rows.device.type == "cpu"
        and math.prod((len(rows), *weight.shape)) >= LEAST_MULTIPLICATIONS
        and beats_mkl()
        and not torch.is_autocast_enabled("cpu")
    )


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows W^T + b, without gradient.

    Args:
        rows: (N, in) fp32 on the CPU.
        weight: (out, in), in any layout.
        bias: (out,), or None.

    Returns:
        (N, out).
    """
    import torch

    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return found
