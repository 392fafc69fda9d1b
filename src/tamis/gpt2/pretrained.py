"""Reads any pretrained GPT-2: a folder in the Hugging Face layout, an OpenAI checkpoint, or a PEFT
adapter with its base model.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tamis.download import Progress
from tamis.errors import CheckpointError, DownloadError, MissingExtraError
from tamis.gpt2.checkpoint_heads import SCORE, score_of
from tamis.gpt2.checkpoints import CONV1D, Checkpoint, check_shapes, read_checkpoint
from tamis.gpt2.hub_cache import snapshot_in
from tamis.gpt2.locate import local_folder, remote_folder
from tamis.gpt2.model import GPT2Config
from tamis.gpt2.openai.checkpoint import is_openai_folder, read_openai, to_state_dict
from tamis.gpt2.peft_adapter import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    Adapter,
    adapter_of,
    is_adapter,
)
from tamis.gpt2.tensor_files import read_json, read_tensor_file
from tamis.text.tokenizer_files import has_tokenizer


def read_pretrained(folder: Path, *, progress: Progress | None = None) -> Checkpoint:
    """Read a folder, of an adapter together with its base model.

    Args:
        folder: Hugging Face layout, OpenAI's layout, or a PEFT adapter.
        progress: called with the bytes so far and the total bytes if a base is downloaded.

    Raises:
        CheckpointError: files are missing, altered or do not fit each other, or the base model
            cannot be had.
    """
    if is_adapter(folder):
        return _read_adapted(folder, progress)
    return _read_openai(folder) if is_openai_folder(folder) else read_checkpoint(folder)


def _read_openai(folder: Path) -> Checkpoint:
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
    return Checkpoint(folder, config, asdict(config), state, None)


def from_numpy(arrays: dict[str, Any]) -> dict[str, Tensor]:
    """Convert weights from transformers' orientation to this package's."""
    return {
        name: torch.from_numpy(
            np.ascontiguousarray(array.T if CONV1D.search(name) else array, dtype=np.float32)
        )
        for name, array in arrays.items()
    }


def _read_adapted(folder: Path, progress: Progress | None) -> Checkpoint:
    settings = read_json(folder / ADAPTER_CONFIG)
    if not (folder / ADAPTER_WEIGHTS).is_file() and (folder / "adapter_model.bin").is_file():
        raise CheckpointError(
            f"{folder / ADAPTER_WEIGHTS} is missing; adapter_model.bin is a pickle file, which "
            "tamis does not read; save the adapter again with safe_serialization=True"
        )
    adapter = adapter_of(folder, settings, read_tensor_file(folder / ADAPTER_WEIGHTS))
    base = read_pretrained(_base_folder(adapter, progress), progress=progress)
    weights = dict(base.state) if base.score is None else {**base.state, SCORE: base.score}
    state = adapter.merged(weights)
    config = replace(base.config, vocab_size=len(state["wte.weight"]))
    where = f"{folder} on {adapter.base}"
    score = score_of({SCORE: state.pop(SCORE)} if SCORE in state else {}, config.n_embd, where)
    check_shapes(state, config, where=where)
    heads = {name for name in adapter.tensors if "." in name}
    own = has_tokenizer(folder)
    return replace(
        base,
        folder=folder,
        config=config,
        state=state,
        score=score,
        heads=base.heads | heads,
        tokenizer_folder=folder if own else base.tokenizer_folder,
    )


def _base_folder(adapter: Adapter, progress: Progress | None) -> Path:
    """Return the folder of an adapter's base: a path from the present folder, as PEFT reads it, or
    from the adapter's, or a name.
    """
    name = adapter.base
    beside = adapter.folder / Path(name).expanduser()
    found = local_folder(name) or (snapshot_in(beside) if beside.is_dir() else None)
    if found is not None and is_adapter(found):
        raise CheckpointError(
            f"{adapter.folder / ADAPTER_CONFIG}: the base {name!r} is an adapter itself; merge it "
            "with its own base first"
        )
    if found is not None:
        return found
    revision = adapter.settings.get("revision")
    pinned = f"{name}@{revision}" if isinstance(revision, str) and revision != "main" else name
    try:
        found = remote_folder(pinned, progress=progress)
    except (DownloadError, MissingExtraError) as error:
        raise CheckpointError(
            f"{adapter.folder} is a PEFT adapter whose base {pinned!r} cannot be had: {error}"
        ) from error
    if found is None:
        raise CheckpointError(
            f"{adapter.folder} is a PEFT adapter whose base {name!r} is neither a folder nor a "
            f"name; write the folder of the base into base_model_name_or_path of {ADAPTER_CONFIG}"
        )
    return found
