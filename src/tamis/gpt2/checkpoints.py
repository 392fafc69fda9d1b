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
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tamis.errors import CheckpointError, ConfigError
from tamis.files import replaced
from tamis.gpt2.model import GPT2, Block, GPT2Classifier, GPT2Config, MeanPoolingBlock
from tamis.gpt2.pooling import recognize, written_out

WEIGHTS = "model.safetensors"
CONV1D = re.compile(r"(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight$")
# Buffers of older transformers versions (causal masks), and heads that a classifier does not use.
_IGNORED = re.compile(
    r"(\.attn\.bias|\.attn\.masked_bias)$|^(lm_head|score|classifier|multiple_choice_head)\."
)
_REQUIRED = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
_FIELDS = tuple(GPT2Config.__dataclass_fields__)


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

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the sizes and trunk weights: equal numbers give equal fingerprints.

        Computed on first access, about one second per gigabyte. Access it before a model built from
        `state` is trained.
        """
        return fingerprint(self.config, self.state)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from `path`.

    Raises:
        CheckpointError: the file is missing, not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing; a GPT-2 folder in the Hugging Face layout needs it"
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON ({error}); download or save the folder again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


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
    for key, allowed in _REQUIRED.items():
        if raw.get(key, allowed[0]) not in allowed:
            raise CheckpointError(
                f"{path}: {key}: expected one of {list(allowed)}, got {raw[key]!r}; other "
                "variants are not supported"
            )
    raw.setdefault("n_positions", raw.get("n_ctx", GPT2Config.n_positions))
    given = {key: raw[key] for key in _FIELDS if key in raw}
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
        return GPT2Config(**given), raw
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_checkpoint(folder: Path | str) -> Checkpoint:
    """Read a folder that holds GPT2Model, GPT2LMHeadModel or GPT2ForSequenceClassification.

    Raises:
        CheckpointError: a file is missing, truncated or not safetensors, or names and shapes do not
            match `config.json`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not a folder; expected a folder with config.json and {WEIGHTS}"
        )
    config, raw = read_config(folder)
    tensors = _read_tensors(folder)
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    score = tensors.get("score.weight")
    state = {
        name: (tensor.t() if CONV1D.search(name) and tensor.ndim == 2 else tensor)
        .float()
        .contiguous()
        for name, tensor in bare.items()
        if not _IGNORED.search(name)
    }
    check_shapes(state, config, where=str(folder))
    if score is not None and (score.ndim != 2 or score.shape[1] != config.n_embd):
        raise CheckpointError(
            f"{folder}: score.weight: expected shape (classes, {config.n_embd}), got "
            f"{tuple(score.shape)}"
        )
    return Checkpoint(folder, config, raw, state, None if score is None else score.float())


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
        "activation_function": "gelu_new",
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
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().cpu().numpy().data)
    return digest.hexdigest()


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    index = folder / f"{WEIGHTS}.index.json"
    if (folder / WEIGHTS).is_file():
        names = [WEIGHTS]
    elif index.is_file():
        names = _shards(index)
    else:
        pickled = next(iter(sorted(folder.glob("pytorch_model*.bin"))), None)
        advice = (
            f"{pickled.name} is a pickle file, which tamis does not read; save the model again "
            "with safe_serialization=True"
            if pickled
            else "download or save the weights as safetensors"
        )
        raise CheckpointError(f"{folder / WEIGHTS} is missing; {advice}")
    tensors: dict[str, Tensor] = {}
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder / name} is missing, but {index.name} names it; download or save the "
                "folder again"
            )
        try:
            with safe_open(folder / name, framework="pt") as file:
                for key in file.keys():  # not a mapping
                    tensors[key] = file.get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{folder / name} is truncated, altered or not safetensors ({error}); download "
                "or save it again"
            ) from error
    return tensors


def _shards(index: Path) -> list[str]:
    """Return the files that an index names; none lies outside its folder."""
    places = read_json(index).get("weight_map")
    names = set(places.values()) if isinstance(places, dict) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise CheckpointError(
            f"{index}: weight_map: expected a file in the same folder for every weight; download "
            "or save the folder again"
        )
    return sorted(names)
