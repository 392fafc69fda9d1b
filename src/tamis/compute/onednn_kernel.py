"""An fp32 matrix product with weights in oneDNN's layout, so that no product has to reorder them.

Owns the product and the check whether it is available. `tamis.gpt2.inference.onednn` builds
networks from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
