"""The number of blocks that a training of everything keeps: one more than those up to the layer
that a linear probe on the frozen backbone would read.

Without the upper blocks training and prediction take less time, and where a probe reads a middle
layer well, a model that ends a block above it is tuned as well as the whole (docs/decisions.md).
"""

from __future__ import annotations

from typing import Any

from tamis.config import Recipe
from tamis.gpt2.freezing import Pooling
from tamis.gpt2.model import GPT2, MeanPoolingBlock
from tamis.head.layer_selection import candidates, selection_reason
from tamis.head.linear_probe import choose_pooling
from tamis.head.training_set import TrainingSet
from tamis.training.callbacks import Callbacks
from tamis.training.depth import chooses_depth

_MORE = 1
"""Blocks above the layer of the probe, which the training can put to use (docs/decisions.md)."""


def choose_depth(
    trunk: GPT2, recipe: Recipe, data: TrainingSet, callbacks: Callbacks
) -> tuple[dict[str, Any], list[str]]:
    """Choose the number of blocks by the rows that are fitted, as the exact head chooses its layer.

    Args:
        trunk: the frozen backbone; it is not changed.
        recipe: resolved.
        data: validation rows choose nothing here.
        callbacks: feature cache and progress.

    Returns:
        The settings found, and notes; both empty where there is nothing to choose.
    """
    if isinstance(trunk.h[-1], MeanPoolingBlock) or not chooses_depth(recipe):
        return {}, []
    depth = len(trunk.h)
    tried: list[Pooling] = candidates(depth, layer=None, mode="mean")
    chosen, losses, _ = choose_pooling(
        trunk,
        recipe,
        data.only(data.fitted, data.copies),
        tried,
        cache=callbacks.cache,
        progress=callbacks.progress,
    )
    if not losses:
        return {}, []
    kept = min(chosen.layer + _MORE, depth)
    note = (
        f"Depth: the first {kept} of {depth} blocks are kept and trained. A linear probe reads "
        f"layer {chosen.layer} ({selection_reason(chosen, tried, losses)}). To keep all blocks, "
        f"use --set text.layers={depth}."
    )
    return {"text.layers": kept}, [note]
