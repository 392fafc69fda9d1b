"""Backbones by name or folder: the embedded one, named ones from the hub, any local folder, or a
random one with a tokenizer of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tamis.errors import CheckpointError, ConfigError
from tamis.gpt2.checkpoints import CONV1D, build, check_shapes, fingerprint, read_checkpoint
from tamis.gpt2.hub import NAMED_BACKBONES, fetch_backbone
from tamis.gpt2.model import GPT2, GPT2Config, initialise
from tamis.gpt2.openai.checkpoint import is_openai_folder, read_openai, to_state_dict
from tamis.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ScratchShape:
    """A random GPT-2; its tokenizer is trained on the training rows, so its vocabulary may come out
    smaller.
    """

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int


SCRATCH = {
    "small": ScratchShape(vocab_size=8192, n_positions=256, n_embd=384, n_layer=2, n_head=6),
    "nano": ScratchShape(vocab_size=16384, n_positions=256, n_embd=288, n_layer=4, n_head=6),
    "tiny": ScratchShape(vocab_size=512, n_positions=64, n_embd=32, n_layer=2, n_head=2),
}
"""`scratch:small` has about 7 million parameters, most of them embeddings; `scratch:nano` is the
network of `nano`; `scratch:tiny` is for trying things out."""


EMBEDDED = ("nano",)
"""Backbones inside the package, no download: folders of `embedded/`, each with its model card."""
_EMBEDDED_FOLDER = Path(__file__).parent / "embedded"


@dataclass(frozen=True)
class Backbone:
    """A trunk with its tokenizer."""

    name: str
    model: GPT2
    tokenizer: Tokenizer
    pretrained: bool
    fingerprint: str
    """Hash of shape and weights (`tamis.gpt2.checkpoints.fingerprint`)."""


def load_backbone(
    name: str | Path, *, progress: Callable[[int, int | None], None] | None = None
) -> Backbone:
    """A pretrained backbone.

    Args:
        name: an embedded backbone, a named one (fetched and verified where it is not here yet), a
            folder in the Hugging Face layout, or an OpenAI checkpoint folder.
        progress: told about bytes while something is fetched.

    Raises:
        ConfigError: the name is neither known nor a folder.
        CheckpointError: the folder's files are missing, altered or do not fit each other.
        DownloadError: a named backbone cannot be fetched.
    """
    text = str(name)
    folder = Path(name).expanduser()
    if local := local_folder(text):
        folder = local
    elif text in NAMED_BACKBONES and not folder.is_dir():
        folder = fetch_backbone(text, progress=progress)
    elif not folder.is_dir():
        raise ConfigError(
            f"backbone {text!r} is neither a folder nor a known name; known names: "
            f"{', '.join(names())}{_near(text)}"
        )
    if is_openai_folder(folder):
        settings, params = read_openai(folder)
        config = GPT2Config(
            vocab_size=settings["n_vocab"],
            n_positions=settings["n_ctx"],
            n_embd=settings["n_embd"],
            n_layer=settings["n_layer"],
            n_head=settings["n_head"],
        )
        state = from_numpy(to_state_dict(settings, params))
        check_shapes(state, config, where=str(folder))
        mark = fingerprint(config, state)
    else:
        checkpoint = read_checkpoint(folder)
        config, state, mark = checkpoint.config, checkpoint.state, checkpoint.fingerprint
    tokenizer = Tokenizer.from_folder(folder)
    if tokenizer.size > config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {tokenizer.size - 1}, the model's "
            f"vocabulary ends at {config.vocab_size - 1}; "
            "the files belong to different models"
        )
    return Backbone(text, build(config, state), tokenizer, pretrained=True, fingerprint=mark)


def local_folder(name: str | Path) -> Path | None:
    """The folder of a backbone that is on this machine without asking anybody: an embedded one by
    name, or a folder.

    The name goes first: a folder `nano` that happens to lie here is `./nano`.
    """
    if str(name) in EMBEDDED:
        return _EMBEDDED_FOLDER / str(name)
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else None


def scratch_backbone(name: str, texts: Sequence[str], *, seed: int) -> Backbone:
    """A random backbone of the shape `scratch:NAME`, with a tokenizer trained on `texts`.

    Raises:
        ConfigError: there is no such shape.
    """
    size = name.removeprefix("scratch:")
    if size not in SCRATCH:
        raise ConfigError(
            f"backbone {name!r}: known shapes are "
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
    """Whether the name asks for a random backbone."""
    return str(name).startswith("scratch:")


def names() -> list[str]:
    """Every name that `--backbone` knows."""
    return [*EMBEDDED, *(f"scratch:{size}" for size in SCRATCH), *NAMED_BACKBONES]


def from_numpy(arrays: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights in transformers' orientation as tensors in this package's."""
    return {
        name: torch.from_numpy(
            np.ascontiguousarray(array.T if CONV1D.search(name) else array, dtype=np.float32)
        )
        for name, array in arrays.items()
    }


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, names(), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
