"""One matrix product in fp32 over weights that lie as oneDNN reads them, so that no product
arranges them again.

Owns the product and whether it can be had here; networks made of it are
`tamis.gpt2.inference.onednn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class PrepackedProduct:
    """(N, in) fp32 -> (N, out) fp32. The layout belongs to this machine and process; it cannot be
    copied or written.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """(out, in) weights and (out,) bias, fp32, on the processor."""
        import torch

        self._laid, self.bias = torch.ops.mkldnn._reorder_linear_weight(weight, None), bias

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply and add the bias; there is no gradient."""
        import torch

        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._laid, self.bias, "none", [], ""
        )
        return product

    @property
    def weight(self) -> Tensor:
        """The (out, in) weights as anybody else reads them: a copy."""
        dense: Tensor = self._laid.to_dense()
        return dense


def prepacking_is_here() -> bool:
    """Whether this build of torch has such products."""
    import torch

    return bool(torch.backends.mkldnn.is_available()) and hasattr(  # type: ignore[no-untyped-call]
        torch.ops.mkldnn, "_linear_pointwise"
    )
