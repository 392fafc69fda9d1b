"""A model described by plain values, and the same model without weights built from them: what the
other processes compute with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from tamis.gpt2.lora import LoRALinear, add_lora
from tamis.gpt2.model import GPT2, GPT2Classifier, GPT2Config, MeanPoolingBlock
from tamis.training.state import LoopSettings


def describe_model(model: GPT2Classifier) -> dict[str, Any]:
    """Return the architecture of a model, its dropout, and which weights are trained, as JSON has
    it.
    """
    trunk = model.transformer
    adapter = next((m for m in trunk.modules() if isinstance(m, LoRALinear)), None)
    return {
        "config": asdict(trunk.config),
        "classes": len(model.score.weight),
        "pooling": {
            str(place): block.factor
            for place, block in enumerate(trunk.h)
            if isinstance(block, MeanPoolingBlock)
        },
        "lora": None
        if adapter is None
        else {"rank": len(adapter.lora_A), "scale": adapter.scale, "dropout": adapter.dropout},
        "dropout": trunk.dropout,
        "rows": None if trunk.wte.row_dtype is None else _name(trunk.wte.row_dtype),
        "weights": [
            [name, _name(p.dtype), list(p.shape), p.requires_grad]
            for name, p in model.named_parameters()
        ],
    }


def build_model(described: Mapping[str, Any], device: torch.device) -> GPT2Classifier:
    """Build the model that `describe_model` describes; its weights have any values."""
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
    model = GPT2Classifier(trunk, described["classes"])
    parameters = dict(model.named_parameters())
    for name, dtype, shape, trained in described["weights"]:
        weights = parameters.pop(name)
        weights.requires_grad_(False)
        weights.data = torch.empty(shape, dtype=getattr(torch, dtype), device=device)
        weights.requires_grad_(trained)
    assert not parameters, f"not described: {', '.join(parameters)}"
    return model.train()


def describe_settings(settings: LoopSettings) -> dict[str, Any]:
    """Return the settings of the loop as JSON has them."""
    autocast = settings.autocast
    return asdict(settings) | {"autocast": None if autocast is None else _name(autocast)}


def build_settings(described: Mapping[str, Any]) -> LoopSettings:
    """Return the settings that `describe_settings` describes."""
    autocast = described["autocast"]
    return LoopSettings(
        **dict(described) | {"autocast": None if autocast is None else getattr(torch, autocast)}
    )


def all_weights(model: GPT2Classifier) -> list[Tensor]:
    """Return every weight of a model, in the order of its description."""
    return [parameter.detach() for parameter in model.parameters()]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
