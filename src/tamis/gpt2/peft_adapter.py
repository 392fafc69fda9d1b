"""Reads a folder of the library PEFT with a LoRA adapter, and merges it into its base model.

The adapter may replace whole modules (the head, embeddings) and biases. Other kinds of adapters are
refused. Source: peft 0.21, tuners/lora/layer.py, tuners/lora/dora.py and
utils/save_and_load.py. Matrices have the orientation of nn.Linear here, (out, in).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tamis.errors import CheckpointError

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_LORA = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|"
    r"lora_magnitude_vector)(?:\.(?P<kind>weight|bias))?"
)
_CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "orthogonal")
"""Initializations that change the base's weights when the adapter is made."""
_UNSUPPORTED = (
    "layer_replication",
    "alora_invocation_tokens",
    "arrow_config",
    "use_qalora",
    "use_bdlora",
    "trainable_token_indices",
    "target_parameters",
    "velora_config",
    "monteclora_config",
    "kasa_config",
    "megatron_config",
)
_OTHER_HEADS = re.compile(r"(?:lm_head|qa_outputs|multiple_choice_head)\.")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter as PEFT saves it."""

    folder: Path
    base: str
    """Name or folder of the base model, as `adapter_config.json` states it."""
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    """By PEFT's names without their prefix."""

    def merged(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the base's weights with the adapter merged, in fp32.

        Args:
            weights: trunk with this package's names and orientation, and `score.weight` if the base
                has a head. Embeddings may get other numbers of rows.

        Raises:
            CheckpointError: a tensor belongs to no weight of the base, or has another shape.
        """
        found = dict(weights)
        pairs: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            match = _LORA.fullmatch(name)
            if match is None:
                self._replace(found, name, tensor.float())
                continue
            part = match["part"] + (".bias" if match["kind"] == "bias" else "")
            pairs.setdefault(_own_name(match["module"]), {})[part] = tensor.float()
        for module, parts in pairs.items():
            if not _OTHER_HEADS.match(f"{module}."):
                self._add(found, module, parts)
        return found

    def _replace(self, weights: dict[str, Tensor], name: str, tensor: Tensor) -> None:
        """Replace a whole weight: a module of `modules_to_save`, or a bias."""
        own = _own_name(name)
        if _OTHER_HEADS.match(own):
            return
        conv1d = re.search(r"(attn|mlp)\.c_\w+\.weight$", own)
        tensor = tensor.t().contiguous() if conv1d else tensor
        before = weights.get(own)
        resized = own in ("wte.weight", "score.weight")
        if (before is None and own != "score.weight") or (
            before is not None and tensor.shape[int(resized) :] != before.shape[int(resized) :]
        ):
            raise self._unknown(name, tensor)
        weights[own] = tensor

    def _add(self, weights: dict[str, Tensor], module: str, parts: dict[str, Tensor]) -> None:
        """Add a low-rank product to the weight of a module."""
        name = f"{module}.weight"
        embedding = "lora_embedding_A" in parts
        kinds = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
        if name not in weights or not all(kind in parts for kind in kinds):
            raise self._unknown(f"{module}.{next(iter(parts))}", next(iter(parts.values())))
        down, up = (parts[kind] for kind in kinds)
        product = (up @ down).t() if embedding else up @ down
        if product.shape != weights[name].shape:
            raise self._unknown(f"{module}.{kinds[1]}", up)
        scale = self._scale(module, rank=len(down))
        weight = weights[name] + scale * product
        magnitude = parts.get("lora_magnitude_vector")
        if magnitude is not None:  # DoRA
            axis = 0 if embedding else 1
            norm = torch.linalg.vector_norm(weight, dim=axis, keepdim=True)
            weight = weight * (magnitude.reshape(norm.shape) / norm)
        weights[name] = weight
        bias = parts.get("lora_B.bias")
        if bias is not None:
            weights[f"{module}.bias"] = weights[f"{module}.bias"] + scale * bias

    def _scale(self, module: str, *, rank: int) -> float:
        patterns = self.settings.get("alpha_pattern") or {}
        full = module if module == "score" else f"transformer.{module}"
        key = next((key for key in patterns if re.match(rf"(.*\.)?({key})$", full)), None)
        alpha = float(self.settings.get("lora_alpha", 8) if key is None else patterns[key])
        return alpha / (rank**0.5 if self.settings.get("use_rslora") else rank)

    def _unknown(self, name: str, tensor: Tensor) -> CheckpointError:
        return CheckpointError(
            f"{self.folder / ADAPTER_WEIGHTS}: {name} {tuple(tensor.shape)} fits no weight of the "
            f"base {self.base!r}; use the base that the adapter was trained on, or merge them with "
            "PEFT's merge_and_unload and save the result"
        )


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds a PEFT adapter."""
    return (folder / ADAPTER_CONFIG).is_file()


def adapter_of(folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Adapter:
    """Check the settings of an adapter.

    Args:
        folder: the adapter's folder.
        settings: its `adapter_config.json`.
        tensors: its `adapter_model.safetensors`.

    Raises:
        CheckpointError: it is no LoRA adapter, or a kind of LoRA that cannot be merged.
    """
    path = folder / ADAPTER_CONFIG
    advice = "merge it with PEFT's merge_and_unload and save the result"
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{path}: expected peft_type 'LORA', got {kind!r}; {advice}")
    how = settings.get("init_lora_weights")
    unsupported = [key for key in _UNSUPPORTED if settings.get(key)]
    if isinstance(how, str) and how.lower().startswith(_CHANGES_THE_BASE):
        unsupported.append(f"init_lora_weights = {how!r}")
    if unsupported:
        raise CheckpointError(f"{path}: {unsupported[0]} is not supported; {advice}")
    base = settings.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CheckpointError(
            f"{path}: base_model_name_or_path: expected the name or folder of the base model, got "
            f"{base!r}; write it into the file"
        )
    _check_alpha(settings, path)
    own = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    return Adapter(folder, base, settings, own)


def _check_alpha(settings: Mapping[str, Any], path: Path) -> None:
    """Check the numbers that scale the product.

    Raises:
        CheckpointError: one is no number, or a pattern is no regular expression.
    """
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise CheckpointError(f"{path}: alpha_pattern: expected an object, got {patterns!r:.60}")
    numbers = {"lora_alpha": settings.get("lora_alpha", 8), **patterns}
    for name, value in numbers.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise CheckpointError(f"{path}: {name}: expected a number, got {value!r:.60}")
        try:
            re.compile(name)
        except re.error as error:
            raise CheckpointError(
                f"{path}: alpha_pattern: {name!r:.60} is no regular expression ({error})"
            ) from None


def _own_name(name: str) -> str:
    """Return this package's name of a module or weight of PEFT."""
    name = name.removeprefix("transformer.")
    return name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
