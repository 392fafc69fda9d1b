"""An fp32 trunk for inference whose matrices are stored in oneDNN's layout, so that no product has
to reorder them.

The gain grows with the size of the matrices and shrinks with the number of rows; docs/log has the
figures. The layout depends on the machine and is never saved; a state dict holds the plain weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tamis.compute.onednn_kernel import PrepackedProduct, prepacking_is_here
from tamis.gpt2.linear import Linear
from tamis.gpt2.linear_swap import ExchangedLinear, exchanged
from tamis.gpt2.model import GPT2, Block

FROM_WIDTH = 512
"""Smallest width at which prepacking is faster (one row on one thread excepted). For narrower
matrices it costs one thread a few percent."""
MOST_BYTES = 2 * 2**30
"""Largest size of a trunk's blocks; larger weights are not kept twice in memory."""


class PrepackedLinear(ExchangedLinear):
    """A linear layer with weights in oneDNN's layout."""

    bias: Tensor
    _products: list[PrepackedProduct]

    def __init__(self, linear: Linear, cut: int | None = None) -> None:
        """Create the layer; for `cut` see `ExchangedLinear`."""
        super().__init__(linear, cut)
        self.register_buffer("bias", linear.bias.detach())
        self._arrange(linear.weight.detach())

    def _arrange(self, weight: Tensor) -> None:
        self._products = [PrepackedProduct(weight[part], self.bias[part]) for part in self.parts()]

    @property
    def weight(self) -> Tensor:
        """Return a copy of the weights in the usual layout, (out, in)."""
        parts = [product.weight for product in self._products]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.weight

    def __getstate__(self) -> dict[str, Any]:
        """Return a state for copying: torch cannot copy another library's layout."""
        return {**self.__dict__, "_products": self.weight}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state in the layout of the current machine."""
        weight = state.pop("_products")
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._arrange(weight)


def prepacking_pays(trunk: GPT2) -> bool:
    """Return whether prepacking makes this trunk faster.

    True if it is wide, in fp32, on a CPU for which this torch build has oneDNN, and small enough to
    be kept twice in memory.
    """
    if trunk.wte.weight.device.type != "cpu" or not prepacking_is_here():
        return False
    matrices = [
        m.weight
        for block in trunk.h
        if isinstance(block, Block)
        for m in block.modules()
        if isinstance(m, Linear)
    ]
    wide = (
        trunk.config.n_embd >= FROM_WIDTH
        and bool(matrices)
        and all(m.dtype == torch.float32 for m in matrices)
    )
    return wide and sum(m.numel() * m.element_size() for m in matrices) <= MOST_BYTES


def prepacked_trunk(trunk: GPT2) -> GPT2:
    """Return the trunk with its blocks' matrices in oneDNN's layout; everything else is shared."""
    return exchanged(trunk, PrepackedLinear)
