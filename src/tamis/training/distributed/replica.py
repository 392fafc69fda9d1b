"""A network described by plain values, and the same network without weights built from them: what
the other processes compute with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from tamis.gpt2.lora import LoRALinear, add_lora
from tamis.gpt2.model import GPT2, GPT2Config, MeanPoolingBlock


def describe_trunk(trunk: GPT2) -> dict[str, Any]:
    """Return the architecture of a trunk and its dropout, as JSON has it."""
    adapter = next((m for m in trunk.modules() if isinstance(m, LoRALinear)), None)
    return {
        "config": asdict(trunk.config),
        "pooling": {
            str(place): block.factor
            for place, block in enumerate(trunk.h)
            if isinstance(block, MeanPoolingBlock)
        },
        "lora": None
        if adapter is None
        else {"rank": len(adapter.lora_A), "scale": adapter.scale, "dropout": adapter.dropout},
        "dropout": trunk.dropout,
        "rows": None if trunk.wte.row_dtype is None else dtype_name(trunk.wte.row_dtype),
    }


def build_trunk(described: Mapping[str, Any]) -> GPT2:
    """Build the trunk that `describe_trunk` describes; its weights have any values."""
    config = GPT2Config(**described["config"])
    trunk = GPT2(config)
    for place, factor in described["pooling"].items():
        trunk.h[int(place)] = MeanPoolingBlock(config, factor)
    lora = described["lora"]
    if lora is not None:
        add_lora(
            trunk,
            lora["rank"],
            alpha=lora["scale"] * math.sqrt(lora["rank"]),
            dropout=lora["dropout"],
            generator=torch.Generator(),
        )
    trunk.set_dropout(described["dropout"])
    if described["rows"] is not None:
        trunk.wte.row_dtype = trunk.wpe.row_dtype = getattr(torch, described["rows"])
    return trunk


def describe_weights(network: nn.Module) -> list[list[Any]]:
    """Return name, type, shape of every weight of a network, and whether it is trained."""
    return [
        [name, dtype_name(weights.dtype), list(weights.shape), weights.requires_grad]
        for name, weights in _named(network).items()
    ]


def allocate(network: nn.Module, described: list[list[Any]], device: torch.device) -> None:
    """Give a network room for the weights that `describe_weights` describes; they have any values.

    Raises:
        ValueError: the network has other weights.
    """
    named = _named(network)
    if list(named) != [name for name, *_ in described]:
        raise ValueError(f"expected the weights {[name for name, *_ in described]}")
    for name, dtype, shape, trained in described:
        weights = named[name]
        weights.requires_grad_(False)
        weights.data = torch.empty(shape, dtype=getattr(torch, dtype), device=device)
        weights.requires_grad_(trained)


def all_weights(network: nn.Module) -> list[Tensor]:
    """Return every weight of a network, in the order of its description."""
    return [weights.detach() for weights in _named(network).values()]


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a type in torch, such as `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def _named(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
