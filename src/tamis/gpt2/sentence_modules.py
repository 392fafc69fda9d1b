"""Describes a GPT-2 folder to sentence-transformers: `modules.json`, and a folder for each module
after the transformer.

`SentenceTransformer(folder)` then gives the vectors of length one that a head reads here, so
SetFit, BERTopic and MTEB can use the folder as it is. A text longer than the context is truncated
there; tamis takes the mean over its windows. Source: sentence_transformers 6.2, base/model.py
(`modules.json`) and the `load` functions of its modules. The older names of the keys are written,
which all versions from 3.0 read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.files import write_text
from tamis.gpt2.checkpoints import write_tensors
from tamis.gpt2.model import GPT2, GPT2Config

MODULES = "modules.json"
_TYPES = "sentence_transformers.models."
_WEIGHTS = "model.safetensors"
_LARGEST_RATIO = 16.0
"""Most that undoing ln_f may enlarge a rounding error of fp32, 1 + |bias / weight|: the vectors
then differ by less than 1e-5."""


def write_mean_modules(folder: Path | str, config: GPT2Config, *, begins: bool) -> None:
    """Write the modules of a backbone: the mean over tokens of the final states, normalized.

    This is the vector that pretraining teaches, and the limit of `MeanPoolingBlock` for a large
    factor: a head on the frozen backbone reads nearly the same vector (cosine above 0.999).

    Args:
        folder: the backbone's folder.
        config: its sizes; C is `n_embd`.
        begins: put `<|endoftext|>` before each text, as tamis does by default. The tokenizer of a
            backbone does not do so by itself.
    """
    folder, channels = Path(folder), config.n_embd
    tokenizer = {"add_bos_token": True} if begins else {}
    _write_transformer(folder, config.n_positions, tokenizer)
    _write_pooling(folder, channels, "pooling_mode_mean_tokens")
    # LayerNorm's length is sqrt(C).
    scale = torch.full((channels,), channels**-0.5)
    norm = {"norm.weight": scale, "norm.bias": torch.zeros(channels)}
    _write_module(folder / "2_LayerNorm", {"dimension": channels}, norm)
    _write_list(folder, ["Transformer", "Pooling", "LayerNorm"])


def write_last_token_modules(folder: Path | str, trunk: GPT2, *, max_length: int) -> bool:
    """Write the modules of a classifier's folder: the state of the last token without the weights
    of the final LayerNorm, of length one.

    Returns False and writes nothing if that state cannot be computed back from the output of the
    final LayerNorm, because more than one of its weights is zero or very small.

    Args:
        folder: the folder of the saved model, with its tokenizer.
        trunk: its trunk, C channels.
        max_length: most tokens of a text, the leading `<|endoftext|>` included.
    """
    found = _inverse_of_norm(trunk)
    if found is None:
        return False
    folder, channels = Path(folder), trunk.config.n_embd
    matrix, bias = (torch.from_numpy(values.astype(np.float32)) for values in found)
    _write_transformer(folder, max_length, {})
    _write_pooling(folder, channels, "pooling_mode_lasttoken")
    sizes: dict[str, Any] = {"in_features": channels, "out_features": channels, "bias": True}
    sizes["activation_function"] = "torch.nn.modules.linear.Identity"
    _write_module(folder / "2_Dense", sizes, {"linear.weight": matrix, "linear.bias": bias})
    _write_list(folder, ["Transformer", "Pooling", "Dense"])
    return True


def _inverse_of_norm(trunk: GPT2) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the (C, C) matrix and the (C,) bias that map ln_f's output to the normalized state
    over sqrt(C); None if there is no such map.

    The normalized state sums to zero. One channel that ln_f deletes (`fold_into` deletes one) is
    therefore minus the sum of the others.
    """
    weight = trunk.ln_f.weight.detach().cpu().double().numpy()
    bias = trunk.ln_f.bias.detach().cpu().double().numpy()
    channels = len(weight)
    lost = np.abs(weight) * (_LARGEST_RATIO - 1) < np.abs(bias) + (weight == 0)
    if lost.sum() > 1:
        return None
    slope = np.where(lost, 0.0, 1.0 / np.where(lost, 1.0, weight))
    matrix, offset = np.diag(slope), -bias * slope
    if lost.any():
        place = int(lost.argmax())
        matrix[place], offset[place] = -slope, 0.0
        offset[place] = -offset.sum()
    return matrix / np.sqrt(channels), offset / np.sqrt(channels)


def _write_transformer(folder: Path, max_length: int, tokenizer: dict[str, Any]) -> None:
    # A file with 16-bit weights would otherwise be computed in 16 bits, which is several times
    # slower on a CPU; the pooling block needs fp32.
    settings = {
        "max_seq_length": max_length,
        "do_lower_case": False,
        "model_args": {"torch_dtype": "float32"},
        "tokenizer_args": tokenizer,
    }
    _write_json(folder / "sentence_bert_config.json", settings)


def _write_pooling(folder: Path, channels: int, mode: str) -> None:
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")
    settings: dict[str, Any] = {"word_embedding_dimension": channels}
    settings |= {f"pooling_mode_{name}": f"pooling_mode_{name}" == mode for name in modes}
    _write_json(folder / "1_Pooling" / "config.json", settings)


def _write_module(folder: Path, settings: dict[str, Any], tensors: dict[str, Any]) -> None:
    _write_json(folder / "config.json", settings)
    write_tensors(folder / _WEIGHTS, tensors, {"format": "pt"})


def _write_list(folder: Path, names: list[str]) -> None:
    """Write `modules.json`; it comes last, because sentence-transformers reads it first."""
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": _TYPES + name}
        for i, name in enumerate(names)
    ]
    _write_json(folder / MODULES, modules)


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(value, indent=2) + "\n")
