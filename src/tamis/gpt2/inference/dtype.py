"""The number type that a trunk computes in."""

from __future__ import annotations

import torch

from tamis.gpt2.inference.int8 import int8_trunk
from tamis.gpt2.inference.onednn import prepacked_trunk, prepacking_pays
from tamis.gpt2.model import GPT2


def in_dtype(trunk: GPT2, dtype: str) -> GPT2:
    """Return the trunk in a number type (`fp32`, `bf16`, `int8`), for inference.

    For fp32 this is the given trunk or, if that is faster, a prepacked one that shares its
    embeddings.
    """
    if dtype == "int8":
        return int8_trunk(trunk)
    if dtype != "bf16":
        return prepacked_trunk(trunk) if prepacking_pays(trunk) else trunk
    import copy

    shared = {id(table.weight): table.weight for table in (trunk.wte, trunk.wpe)}
    return copy.deepcopy(trunk, shared).cast(torch.bfloat16)
