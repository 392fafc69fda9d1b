"""One matrix product in eight bits: weights per output column, activations per row, on the engine
that this build of torch has.

Owns the product and whether it can be had here; networks made of it are
`tamis.gpt2.inference.int8`. Chosen by measurement over torch's dynamic quantised Linear (one scale
for a whole batch, so a score would depend on its batch mates) and torch._int_mm (a plain loop on
the processor): docs/speed.md has the figures.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from tamis.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_LEVELS = 127
"""Weights are whole multiples, from -127 to 127, of their output column's own step."""
_ENGINE, _PRODUCT = "fbgemm", "linear_with_input_q_dq_qweight_dq_output_fp32"


class Int8Product:
    """(N, in) fp32 -> (N, out) fp32. A row is scaled by its own largest value, so no row's result
    depends on another row.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """(out, in) weights and (out,) bias, fp32, on the processor.

        Raises:
            ConfigError: as `row_levels`.
        """
        import torch

        self.levels = row_levels()
        steps = weight.abs().amax(1).clamp_min(1e-30) / WEIGHT_LEVELS  # (out,)
        whole = (
            (weight / steps[:, None]).round_().clamp_(-WEIGHT_LEVELS, WEIGHT_LEVELS).to(torch.int8)
        )
        self.packed, self.bias = _packed(whole, steps), bias

    def __call__(self, rows: Tensor) -> Tensor:
        """Round the rows, multiply, add the bias."""
        import torch

        largest = torch.linalg.vector_norm(rows, float("inf"), dim=-1, keepdim=True).clamp_min_(
            1e-30
        )  # (N, 1)
        product = int8_product(rows / largest, self.packed, self.levels)
        return torch.addcmul(self.bias, product, largest, out=product)


def int8_is_here() -> bool:
    """Whether this build of torch has the engine for this processor."""
    import torch

    return _ENGINE in torch.backends.quantized.supported_engines and hasattr(
        torch.ops.quantized, _PRODUCT
    )


@cache
def row_levels() -> int:
    """Steps on either side of zero for activations: 127 where the engine's sums are exact then,
    else 63.

    Processors without VNNI add two products in sixteen bits first and cut what does not fit.
    Whether this one does is tried out with the largest numbers there are; with seven bits every sum
    fits.

    Raises:
        ConfigError: this build of torch has no engine for such products on this processor.
    """
    import torch

    if not int8_is_here():
        known = (
            ", ".join(name for name in torch.backends.quantized.supported_engines if name != "none")
            or "none"
        )
        raise ConfigError(
            f"dtype: int8 needs torch's engine {_ENGINE} (x86 processors with AVX2); torch "
            f"{torch.__version__} has {known} here; "
            "take --dtype fp32 or auto"
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
    """(out, in) int8 multiples of (out,) steps, in the engine's own layout."""
    import torch

    with warnings.catch_warnings():
        # The type is deprecated; `int8_is_here` asks whether the kernel is still there.
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
    """(N, in) in [-1, 1] times packed weights -> (N, out): rounded to `levels` steps on either side
    of zero, summed as integers.
    """
    import torch

    product: Tensor = getattr(torch.ops.quantized, _PRODUCT)(rows, 1.0 / levels, levels + 1, packed)
    return product
