"""A trunk for inference in fp32 whose matrices lie as oneDNN reads them, so that no product
arranges them again.

What that is worth grows with the matrix and shrinks with the rows: LOG.md has the figures. The
layout belongs to this machine and is never written; a state dict holds the plain weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tamis.compute.onednn_kernel import PrepackedProduct, prepacking_is_here
from tamis.gpt2.linear_swap import ExchangedLinear, exchanged
from tamis.gpt2.model import GPT2, Block, Linear

FROM_WIDTH = 512
"""Channels from which on it pays, but for one row on one thread; of narrower matrices it costs one
thread a few percent."""
MOST_BYTES = 2 * 2**30
"""Of a trunk's blocks: more than that is not held twice."""


class PrepackedLinear(ExchangedLinear):
    """A linear layer over weights in oneDNN's own layout."""

    bias: Tensor
    _products: list[PrepackedProduct]

    def __init__(self, linear: Linear, cut: int | None = None) -> None:
        """`cut`: as `ExchangedLinear`'s."""
        super().__init__(linear, cut)
        self.register_buffer("bias", linear.bias.detach())
        self._arrange(linear.weight.detach())

    def _arrange(self, weight: Tensor) -> None:
        self._products = [PrepackedProduct(weight[part], self.bias[part]) for part in self.parts()]

    @property
    def weight(self) -> Tensor:
        """(out, in), arranged as anybody else reads it: a copy."""
        parts = [product.weight for product in self._products]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.weight

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: torch cannot copy another library's layout."""
        return {**self.__dict__, "_products": self.weight}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The layout of the machine that reads it."""
        weight = state.pop("_products")
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._arrange(weight)


def prepacking_pays(trunk: GPT2) -> bool:
    """Whether this trunk is faster so: wide, in fp32, on a processor for which this torch has
    oneDNN, not too large to be held twice.
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
    """The trunk with its blocks' matrices arranged for oneDNN; everything else is shared with the
    one given.
    """
    return exchanged(trunk, PrepackedLinear)
