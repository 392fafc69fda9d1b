"""Reads and writes backbones and classifiers in the Hugging Face GPT-2 layout: `config.json` and
`model.safetensors`.

transformers stores linear layers as Conv1D, (in, out); this package uses nn.Linear, (out, in). The
four matrices of a block are therefore transposed when they are read or written. Pickle files are
neither read nor written. `tamis.gpt2.openai.checkpoint` reads OpenAI's own files.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from tamis.errors import CheckpointError, ConfigError
from tamis.files import as_path, replaced
from tamis.gpt2.checkpoint_heads import OTHER_HEADS, score_of
from tamis.gpt2.model import GPT2, Block, GPT2Classifier, GPT2Config, MeanPoolingBlock
from tamis.gpt2.pooling import recognize, written_out
from tamis.gpt2.tensor_files import WEIGHTS, read_json, read_tensors
from tamis.gpt2.variants import activation_of, fold_attention_scale

CONV1D = re.compile(r"(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight$")
# Buffers of older transformers versions: causal masks.
_IGNORED = re.compile(r"\.attn\.(bias|masked_bias)$")
_SIZES = tuple(name for name in GPT2Config.__dataclass_fields__ if name != "activation_function")


@dataclass(frozen=True)
class Checkpoint:
    """The content of a folder in the Hugging Face layout."""

    folder: Path
    config: GPT2Config
    raw: dict[str, Any]
    """`config.json` unchanged, including labels and special token ids."""
    state: dict[str, Tensor]
    """Trunk weights with this package's names, fp32, Linear orientation."""
    score: Tensor | None
    """(K, C) head of a sequence classifier; None for a bare backbone."""
    heads: frozenset[str] = frozenset()
    """Names of the tensors that belong to heads."""
    tokenizer_folder: Path = Path()
    """Folder with the tokenizer's files; the model's folder unless an adapter has none."""

    def __post_init__(self) -> None:
        """The tokenizer is in the model's folder by default."""
        if self.tokenizer_folder == Path():
            object.__setattr__(self, "tokenizer_folder", self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the sizes and trunk weights: equal numbers give equal fingerprints.

        Computed on first access, about one second per gigabyte. Access it before a model built from
        `state` is trained.
        """
        return fingerprint(self.config, self.state)


def read_config(folder: Path) -> tuple[GPT2Config, dict[str, Any]]:
    """Return the sizes and the raw content of `config.json`.

    Raises:
        CheckpointError: it is missing, names another architecture, or requests a variant of GPT-2
            that is not supported.
    """
    path = folder / "config.json"
    raw = read_json(path)
    if raw.get("model_type", "gpt2") != "gpt2":
        raise CheckpointError(
            f"{path}: expected model_type 'gpt2', got {raw['model_type']!r}; only GPT-2 "
            "checkpoints can be used"
        )
    if raw.get("quantization_config"):
        raise CheckpointError(
            f"{path}: quantization_config: expected none, because quantized weights are not read; "
            "save the model with its full weights"
        )
    activation = activation_of(raw, path)
    raw.setdefault("n_positions", raw.get("n_ctx", GPT2Config.n_positions))
    given = {key: raw[key] for key in _SIZES if key in raw}
    for key, value in given.items():
        whole = type(value) is int and value > 0
        if not (
            isinstance(value, float) and value > 0
            if key == "layer_norm_epsilon"
            else whole or (key == "n_inner" and value is None)
        ):
            wanted = (
                "a small positive number"
                if key == "layer_norm_epsilon"
                else "a whole number of at least 1"
            )
            raise CheckpointError(f"{path}: {key}: expected {wanted}, got {value!r}")
    try:
        return GPT2Config(**given, activation_function=activation), raw
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_checkpoint(folder: Path | str) -> Checkpoint:
    """Read a folder that holds GPT2Model, GPT2LMHeadModel or GPT2ForSequenceClassification.

    Raises:
        CheckpointError: a file is missing, truncated or not safetensors, or names and shapes do not
            match `config.json`.
    """
    folder = as_path(folder, "folder")
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not a folder; expected a folder with config.json and {WEIGHTS}"
        )
    config, raw = read_config(folder)
    tensors = read_tensors(folder)
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    heads = frozenset(name for name in bare if OTHER_HEADS.match(name))
    score = score_of({name: bare[name] for name in heads}, config.n_embd, str(folder))
    check_numbers({n: t for n, t in bare.items() if not _IGNORED.search(n)}, str(folder))
    state = {
        name: (tensor.t() if CONV1D.search(name) and tensor.ndim == 2 else tensor)
        .float()
        .contiguous()
        for name, tensor in bare.items()
        if not _IGNORED.search(name) and name not in heads
    }
    check_shapes(state, config, where=str(folder))
    state = fold_attention_scale(state, config, raw)
    return Checkpoint(folder, config, raw, state, score, heads)


def check_numbers(tensors: dict[str, Tensor], where: str) -> None:
    """Check that all weights are finite numbers.

    Raises:
        CheckpointError: a weight is NaN or infinite, or of a type for whole numbers.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"{where}: {name}: expected floating-point numbers, got {tensor.dtype}; quantized "
                "weights are not read"
            )
        if not torch.isfinite(tensor.sum(dtype=torch.float64)):
            raise CheckpointError(
                f"{where}: {name} contains NaN or infinite numbers; every score would be NaN, so "
                "download the model again or train it anew"
            )


def check_shapes(state: dict[str, Tensor], config: GPT2Config, *, where: str) -> None:
    """Compare names and shapes with those that `config` requires.

    Raises:
        CheckpointError: lists all missing, unexpected and mismatched weights.
    """
    with torch.device("meta"):
        expected = {name: tuple(t.shape) for name, t in GPT2(config).state_dict().items()}
    found = {name: tuple(t.shape) for name, t in state.items()}
    problems = [f"missing {name} {shape}" for name, shape in expected.items() if name not in found]
    problems += [
        f"unexpected {name} {shape}" for name, shape in found.items() if name not in expected
    ]
    problems += [
        f"{name}: expected {expected[name]}, got {shape}"
        for name, shape in found.items()
        if expected.get(name, shape) != shape
    ]
    if problems:
        shown = "; ".join(problems[:6]) + (
            f"; and {len(problems) - 6} more" if len(problems) > 6 else ""
        )
        raise CheckpointError(
            f"{where}: the weights do not match the configuration: {shown}; use files of the "
            "same model"
        )


def build(config: GPT2Config, state: dict[str, Tensor]) -> GPT2:
    """Build a GPT2 with exactly `state`; a written-out pooling block is recognized."""
    with torch.device("meta"):
        model = GPT2(config)
    factor = recognize(state, config)
    if factor is not None:
        block = f"h.{config.n_layer - 1}."
        keep = {f"{block}ln_1.weight", f"{block}ln_1.bias"}
        state = {name: t for name, t in state.items() if not name.startswith(block) or name in keep}
        with torch.device("meta"):
            model.h[-1] = MeanPoolingBlock(config, factor)
    model.load_state_dict(state, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


def write_checkpoint(
    folder: Path | str,
    model: GPT2 | GPT2Classifier,
    *,
    labels: list[str] | None = None,
    extra: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write `config.json` and `model.safetensors` so that transformers can load them.

    Args:
        folder: created if missing; existing files are replaced atomically.
        model: a trunk (written as GPT2LMHeadModel, tied embeddings) or a classifier.
        labels: class names by index, for a classifier.
        extra: further keys for `config.json`, such as special token ids.
        dtype: stored type.

    Raises:
        ConfigError: the model has low-rank adapters that are not merged.
    """
    folder = Path(folder)
    if any("lora_" in name for name, _ in model.named_parameters()):
        raise ConfigError(
            "the model has low-rank adapters, which the standard layout cannot store; merge "
            "them with merge_lora first"
        )
    folder.mkdir(parents=True, exist_ok=True)
    trunk = model.transformer if isinstance(model, GPT2Classifier) else model
    classifier = isinstance(model, GPT2Classifier)
    raw: dict[str, Any] = {
        "architectures": ["GPT2ForSequenceClassification" if classifier else "GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_ctx": trunk.config.n_positions,
        **asdict(trunk.config),
        "torch_dtype": str(dtype).removeprefix("torch."),
        **{f"{part}_pdrop": 0.0 for part in ("attn", "embd", "resid")},
    }
    if labels is not None:
        raw["id2label"] = {str(i): label for i, label in enumerate(labels)}
        raw["label2id"] = {label: i for i, label in enumerate(labels)}
    raw.update(extra or {})
    tensors = {
        f"transformer.{name}": tensor.to(dtype).contiguous()
        for name, tensor in standard_state(trunk).items()
    }
    if isinstance(model, GPT2Classifier):
        tensors["score.weight"] = model.score.weight.detach().cpu().to(dtype).contiguous()
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    with replaced(folder / "config.json") as beside:
        beside.write_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically.

    Raises:
        OSError: it cannot be written (safetensors raises its own error for a full disk).
    """
    try:
        with replaced(path) as beside:
            save_file(tensors, beside, metadata=metadata)
    except SafetensorError as error:
        raise OSError(
            f"{path} cannot be written ({error}); check the free disk space and run the same "
            "command again"
        ) from error


def standard_state(trunk: GPT2) -> dict[str, Tensor]:
    """Return the trunk's weights with transformers' names (without `transformer.`) and orientation,
    pooling blocks written out.
    """
    state: dict[str, Tensor] = {}
    for name, module in trunk.named_children():
        blocks: Any = enumerate(trunk.h) if name == "h" else [(None, module)]
        for i, part in blocks:
            full: Any = (
                written_out(part, trunk.config) if isinstance(part, MeanPoolingBlock) else part
            )
            prefix = f"h.{i}." if isinstance(full, Block) else f"{name}."
            state.update(
                {prefix + key: tensor.detach().cpu() for key, tensor in full.state_dict().items()}
            )
    return {name: tensor.t() if CONV1D.search(name) else tensor for name, tensor in state.items()}


def fingerprint(config: GPT2Config, state: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the sizes and every weight, in sorted order of names."""
    sizes = asdict(config)
    if config.activation_function == GPT2Config.activation_function:
        del sizes["activation_function"]  # so that GPT-2's own have the fingerprints they had
    digest = hashlib.sha256(json.dumps(sizes, sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().cpu().numpy().data)
    return digest.hexdigest()
