"""Backbones by name or folder: embedded, from the Hugging Face hub, a local folder, or random
weights with a new tokenizer.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tamis.errors import CheckpointError, ConfigError
from tamis.gpt2.checkpoints import build, fingerprint
from tamis.gpt2.hub import NAMED_BACKBONES
from tamis.gpt2.locate import EMBEDDED, local_folder, remote_folder
from tamis.gpt2.model import GPT2, GPT2Config, initialise
from tamis.gpt2.pretrained import from_numpy, read_pretrained
from tamis.text.tokenizer import Tokenizer

__all__ = [
    "EMBEDDED",
    "SCRATCH",
    "Backbone",
    "ScratchShape",
    "from_numpy",
    "is_scratch",
    "load_backbone",
    "local_folder",
    "names",
    "scratch_backbone",
]


@dataclass(frozen=True)
class ScratchShape:
    """The shape of a random GPT-2.

    Its tokenizer is trained on the training rows, so the vocabulary may be smaller.
    """

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int


SCRATCH = {
    "small": ScratchShape(vocab_size=8192, n_positions=256, n_embd=384, n_layer=2, n_head=6),
    "nano": ScratchShape(vocab_size=16384, n_positions=256, n_embd=384, n_layer=6, n_head=12),
    "tiny": ScratchShape(vocab_size=512, n_positions=64, n_embd=32, n_layer=2, n_head=2),
}
"""`scratch:small` has about 7 million parameters, most of them embeddings; `scratch:nano` has the
shape of `nano`; `scratch:tiny` is for quick tests."""


@dataclass(frozen=True)
class Backbone:
    """A trunk with its tokenizer."""

    name: str
    model: GPT2
    tokenizer: Tokenizer
    pretrained: bool
    fingerprint: str
    """Hash of sizes and weights (`tamis.gpt2.checkpoints.fingerprint`)."""
    tied: bool = True
    """Whether the next token is predicted with the embedding matrix, as this package does."""


def load_backbone(
    name: str | Path, *, progress: Callable[[int, int | None], None] | None = None
) -> Backbone:
    """Load a pretrained backbone.

    Args:
        name: an embedded backbone, a named one (downloaded and verified if it is not in the cache),
            `ORGANIZATION/NAME` or `ORGANIZATION/NAME@REVISION` of the Hugging Face hub, a folder in
            the Hugging Face layout, with an OpenAI checkpoint, or with a PEFT adapter.
        progress: called with the bytes so far and the total bytes of a download.

    Raises:
        ConfigError: the name is neither a known name nor a folder.
        CheckpointError: the folder's files are missing, altered or do not match each other.
        DownloadError, MissingExtraError: a backbone cannot be downloaded.
    """
    text = str(name)
    folder = local_folder(text) or remote_folder(text, progress=progress)
    if folder is None:
        raise ConfigError(
            f"backbone {text!r} is neither a folder nor a known name; known names: "
            f"{', '.join(names())}, or ORGANIZATION/NAME of the Hugging Face hub{_near(text)}"
        )
    checkpoint = read_pretrained(folder, progress=progress)
    mark, vocab_size = checkpoint.fingerprint, checkpoint.config.vocab_size
    tokenizer = Tokenizer.from_folder(checkpoint.tokenizer_folder).within(vocab_size)
    if tokenizer.size > vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {tokenizer.size - 1}, but the model's "
            f"vocabulary ends at {vocab_size - 1}; use files of the same model"
        )
    model = build(checkpoint.config, checkpoint.state)
    own_output = checkpoint.raw.get("tie_word_embeddings", True) is False
    tied = not (own_output and "lm_head.weight" in checkpoint.heads)
    return Backbone(text, model, tokenizer, pretrained=True, fingerprint=mark, tied=tied)


def scratch_backbone(name: str, texts: Sequence[str], *, seed: int) -> Backbone:
    """Create a random backbone of the shape `scratch:NAME`, with a tokenizer trained on `texts`.

    Raises:
        ConfigError: there is no such shape.
    """
    size = name.removeprefix("scratch:")
    if size not in SCRATCH:
        raise ConfigError(
            f"backbone {name!r}: expected one of "
            f"{', '.join(f'scratch:{s}' for s in SCRATCH)}{_near(name)}"
        )
    shape = SCRATCH[size]
    tokenizer = Tokenizer.train(texts, vocab_size=shape.vocab_size)
    config = GPT2Config(
        vocab_size=tokenizer.size,
        n_positions=shape.n_positions,
        n_embd=shape.n_embd,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
    )
    model = GPT2(config)
    initialise(model, torch.Generator().manual_seed(seed))
    state = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    return Backbone(
        name, model, tokenizer, pretrained=False, fingerprint=fingerprint(config, state)
    )


def is_scratch(name: str | Path) -> bool:
    """Return whether the name means a random backbone."""
    return str(name).startswith("scratch:")


def names() -> list[str]:
    """Return every name that `--backbone` accepts."""
    return [*EMBEDDED, *(f"scratch:{size}" for size in SCRATCH), *NAMED_BACKBONES]


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, names(), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
