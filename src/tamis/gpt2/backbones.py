"""Backbones by name or folder: embedded, from the Hugging Face hub, a local folder, or random
weights with a new tokenizer.
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
    "nano": ScratchShape(vocab_size=16384, n_positions=256, n_embd=288, n_layer=4, n_head=6),
    "tiny": ScratchShape(vocab_size=512, n_positions=64, n_embd=32, n_layer=2, n_head=2),
}
"""`scratch:small` has about 7 million parameters, most of them embeddings; `scratch:nano` has the
shape of `nano`; `scratch:tiny` is for quick tests."""


EMBEDDED = ("nano",)
"""Backbones inside the package, without download: folders of `embedded/`, each with a model
card."""
_EMBEDDED_FOLDER = Path(__file__).parent / "embedded"


@dataclass(frozen=True)
class Backbone:
    """A trunk with its tokenizer."""

    name: str
    model: GPT2
    tokenizer: Tokenizer
    pretrained: bool
    fingerprint: str
    """Hash of sizes and weights (`tamis.gpt2.checkpoints.fingerprint`)."""


def load_backbone(
    name: str | Path, *, progress: Callable[[int, int | None], None] | None = None
) -> Backbone:
    """Load a pretrained backbone.

    Args:
        name: an embedded backbone, a named one (downloaded and verified if it is not in the cache),
            a folder in the Hugging Face layout, or a folder with an OpenAI checkpoint.
        progress: called with the bytes so far and the total bytes of a download.

    Raises:
        ConfigError: the name is neither a known name nor a folder.
        CheckpointError: the folder's files are missing, altered or do not match each other.
        DownloadError: a named backbone cannot be downloaded.
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
            f"{folder}: the tokenizer has ids up to {tokenizer.size - 1}, but the model's "
            f"vocabulary ends at {config.vocab_size - 1}; use files of the same model"
        )
    return Backbone(text, build(config, state), tokenizer, pretrained=True, fingerprint=mark)


def local_folder(name: str | Path) -> Path | None:
    """Return the folder of a backbone that needs no download: an embedded one by name, or a folder.

    The name takes precedence: use `./nano` for a folder named `nano`.
    """
    if str(name) in EMBEDDED:
        return _EMBEDDED_FOLDER / str(name)
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else None


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


def from_numpy(arrays: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Convert weights from transformers' orientation to this package's."""
    return {
        name: torch.from_numpy(
            np.ascontiguousarray(array.T if CONV1D.search(name) else array, dtype=np.float32)
        )
        for name, array in arrays.items()
    }


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, names(), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
