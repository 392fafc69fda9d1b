"""The trunk in the number type that it is computed in."""

from __future__ import annotations

import torch

from tamis.config import Recipe
from tamis.gpt2.inference.int8 import int8_trunk
from tamis.gpt2.inference.onednn import prepacked_trunk, prepacking_pays
from tamis.gpt2.model import GPT2


def in_dtype(trunk: GPT2, recipe: Recipe) -> GPT2:
    """The trunk in the recipe's type, for inference: in fp32 the one given or, where that is
    faster, one that shares its embeddings.
    """
    if recipe.compute.dtype == "int8":
        return int8_trunk(trunk)
    if recipe.compute.dtype != "bf16":
        return prepacked_trunk(trunk) if prepacking_pays(trunk) else trunk
    import copy

    shared = {id(table.weight): table.weight for table in (trunk.wte, trunk.wpe)}
    return copy.deepcopy(trunk, shared).cast(torch.bfloat16)
