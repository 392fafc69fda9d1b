"""GPT-2: the network, its packed batches, its tokenizer and its checkpoints.

For students of the reference: `read_openai` (questions 2 and 3), `model_config` (question 4),
`replace_head` (question 8).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamis.gpt2.backbones import load_backbone as load_backbone
    from tamis.gpt2.classification_head import head_shape as head_shape
    from tamis.gpt2.classification_head import replace_head as replace_head
    from tamis.gpt2.hub import fetch_backbone as fetch_backbone
    from tamis.gpt2.openai.checkpoint import model_config as model_config
    from tamis.gpt2.openai.checkpoint import read_openai as read_openai

_HOMES = {
    "fetch_backbone": "tamis.gpt2.hub",
    "head_shape": "tamis.gpt2.classification_head",
    "load_backbone": "tamis.gpt2.backbones",
    "model_config": "tamis.gpt2.openai.checkpoint",
    "read_openai": "tamis.gpt2.openai.checkpoint",
    "replace_head": "tamis.gpt2.classification_head",
}

__all__ = [
    "fetch_backbone",
    "head_shape",
    "load_backbone",
    "model_config",
    "read_openai",
    "replace_head",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use: reading an OpenAI checkpoint must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tamis.gpt2' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
