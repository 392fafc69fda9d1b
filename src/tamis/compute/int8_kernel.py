"""An 8-bit matrix product with torch's quantized engine: one scale per output column of the weights
and one per row of activations.

Owns the product and the check whether it is available; `tamis.gpt2.inference.int8` builds networks
from it. Measured alternatives: torch's dynamic quantized Linear has one scale for a whole batch, so
a score would depend on the other texts of its batch; torch._int_mm is a plain loop on CPUs.
docs/speed.md has the figures.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from tamis.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_LEVELS = 127
"""Weights are integers from -127 to 127 times the scale of their output column."""
_ENGINE, _PRODUCT = "fbgemm", "linear_with_input_q_dq_qweight_dq_output_fp32"


class Int8Product:
    """(N, in) fp32 -> (N, out) fp32. Each row is scaled by its largest value, so rows do not affect
    each other.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Quantize (out, in) weights and (out,) bias, fp32, on the CPU.

        Raises:
            ConfigError: see `row_levels`.
        """
        import torch

        self.levels = row_levels()
        steps = weight.abs().amax(1).clamp_min(1e-30) / WEIGHT_LEVELS  # (out,)
        whole = (
            (weight / steps[:, None]).round_().clamp_(-WEIGHT_LEVELS, WEIGHT_LEVELS).to(torch.int8)
        )
        self.packed, self.bias = _packed(whole, steps), bias

    def __call__(self, rows: Tensor) -> Tensor:
        """Quantize the rows, multiply, and add the bias."""
        import torch

        largest = torch.linalg.vector_norm(rows, float("inf"), dim=-1, keepdim=True).clamp_min_(
            1e-30
        )  # (N, 1)
        product = int8_product(rows / largest, self.packed, self.levels)
        return torch.addcmul(self.bias, product, largest, out=product)


def int8_is_here() -> bool:
    """Return whether this build of torch has an int8 engine for this CPU."""
    import torch

    return _ENGINE in torch.backends.quantized.supported_engines and hasattr(
        torch.ops.quantized, _PRODUCT
    )


@cache
def row_levels() -> int:
    """Return the activation levels on either side of zero: 127, or 63 if sums would overflow.

    CPUs without VNNI add two products in 16 bits and saturate. This is tested with the largest
    possible numbers; with 63 levels no sum overflows.

    Raises:
        ConfigError: this build of torch has no int8 engine for this CPU.
    """
    import torch

    if not int8_is_here():
        known = (
            ", ".join(name for name in torch.backends.quantized.supported_engines if name != "none")
            or "none"
        )
        raise ConfigError(
            f"dtype: int8 needs torch's engine {_ENGINE} (x86 CPUs with AVX2), but torch "
            f"{torch.__version__} has {known} here; use --dtype fp32 or auto"
        )
    inputs = 64
    packed = _packed(torch.full((8, inputs), WEIGHT_LEVELS, dtype=torch.int8), torch.ones(8))
    found = int8_product(torch.ones(2, inputs), packed, 127)
    return (
        127
        if torch.allclose(found, torch.full((2, 8), float(inputs * WEIGHT_LEVELS)), rtol=1e-3)
        else 63
    )


def _packed(whole: Tensor, steps: Tensor) -> Any:
    """Pack (out, in) int8 weights with (out,) scales in the engine's layout."""
    import torch

    with warnings.catch_warnings():
        # The type is deprecated; `int8_is_here` checks that the kernel still exists.
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        weight = torch._make_per_channel_quantized_tensor(
            whole, steps.double(), torch.zeros(len(whole), dtype=torch.int64), 0
        )
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = _ENGINE
    try:
        return torch.ops.quantized.linear_prepack(weight, None)
    finally:
        torch.backends.quantized.engine = before


def int8_product(rows: Tensor, packed: Any, levels: int) -> Tensor:
    """Multiply (N, in) rows in [-1, 1] by packed weights -> (N, out).

    Rows are rounded to `levels` steps on either side of zero and summed as integers.
    """
    import torch

    product: Tensor = getattr(torch.ops.quantized, _PRODUCT)(rows, 1.0 / levels, levels + 1, packed)
    return product
