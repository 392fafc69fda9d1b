"""Write what `lora:R` learned as an adapter of PEFT: `adapter_config.json` and
`adapter_model.safetensors`.

A saved model holds merged weights. The adapter is computed back from them: the difference to the
backbone's matrices has rank R, so its singular vectors give B and A. What else was trained is
stored whole (`modules_to_save`): the head, the final LayerNorm, and the pooling block, which the
backbone does not have. Shapes: matrices are (out, in). Source: peft 0.21, tuners/lora and
utils/save_and_load.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tamis.classifier.text_classifier import TextClassifier
from tamis.errors import CheckpointError, ConfigError, NotFittedError
from tamis.files import replaced_folder, write_text
from tamis.gpt2.backbones import Backbone, is_scratch, load_backbone, local_folder
from tamis.gpt2.checkpoints import standard_state, write_tensors
from tamis.gpt2.hub import NAMED_BACKBONES
from tamis.gpt2.lora import ALPHA
from tamis.gpt2.model import GPT2Classifier

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
_PREFIX = "base_model.model."
_SPARE = 8
"""Columns beyond the rank with which the range of a difference is searched."""
_TOLERANCE = 1e-4
"""Largest part of a difference, relative to its norm, that may be left over; rounding to fp32
leaves less than 1e-5 of a trained difference."""
_ROUNDING = 1e-6
"""The same, relative to the norm of the matrix: a difference below is rounding."""


@dataclass(frozen=True)
class Adapter:
    """An adapter and how its base model is made."""

    config: dict[str, Any]
    """content of adapter_config.json"""
    tensors: dict[str, Tensor]
    """content of adapter_model.safetensors"""
    arguments: dict[str, Any]
    """arguments of `AutoModelForSequenceClassification.from_pretrained`"""


def export_peft(classifier: TextClassifier, folder: Path | str) -> Adapter:
    """Write the adapter of a classifier tuned with `lora:R`, with its tokenizer, atomically.

    Args:
        classifier: fitted or loaded.
        folder: an existing folder is replaced.

    Raises:
        NotFittedError: the classifier is not fitted.
        ConfigError: it was not tuned with `lora:R`, or its backbone was random.
        CheckpointError: the backbone is not the one that it was trained from.
        DownloadError: the backbone cannot be downloaded.
    """
    if not classifier.__sklearn_is_fitted__():
        raise NotFittedError("only a fitted classifier can be exported; call fit or load first")
    adapter = adapter_of(classifier)
    tokenizer = classifier.predictor_.tokenizer
    context = classifier.predictor_.encoder.context
    with replaced_folder(Path(folder)) as beside:
        tokenizer.save(beside, max_length=context)
        write_tensors(beside / WEIGHTS, adapter.tensors, {"format": "pt"})
        write_text(beside / CONFIG, json.dumps(adapter.config, indent=2) + "\n")
        write_text(beside / "README.md", _card(adapter, Path(folder).name))
    return adapter


def adapter_of(classifier: TextClassifier) -> Adapter:
    """Return the adapter of a classifier. Raises as `export_peft`."""
    recipe = classifier.recipe_
    if not recipe.rank:
        raise ConfigError(
            f"tune = {recipe.tune}: only a model tuned with lora:R has an adapter; train one with "
            "--tune lora:8"
        )
    if is_scratch(recipe.backbone):
        raise ConfigError(
            f"backbone = {recipe.backbone}: an adapter needs a backbone that others can load; this "
            "one had random weights, which are not kept"
        )
    model, base = classifier.predictor_.exact_model(), load_backbone(recipe.backbone)
    trunk = model.transformer
    blocks = min(base.model.config.n_layer, trunk.config.n_layer)
    if recipe.text.pooling in ("mean", "attention"):
        blocks = min(blocks, trunk.config.n_layer - 1)
    tensors: dict[str, Tensor] = {}
    trained, frozen = trunk.state_dict(), base.model.state_dict()
    for name in _frozen_names(blocks, trained):
        _check_equal(name, trained[name], frozen.get(name), base)
    scale = ALPHA / recipe.rank**0.5
    for block in range(blocks):
        for matrix in _MATRICES:
            name = f"h.{block}.{matrix}"
            difference = trained[f"{name}.weight"].double() - frozen[f"{name}.weight"].double()
            size = float(frozen[f"{name}.weight"].double().norm())
            down, up = _factors(difference, recipe.rank, size, where=f"{recipe.backbone}: {name}")
            key = f"{_PREFIX}transformer.{name}"
            tensors[f"{key}.lora_A.weight"] = down.float().contiguous()
            tensors[f"{key}.lora_B.weight"] = (up / scale).float().contiguous()
    saved = ["score", "ln_f", *(f"h.{i}" for i in range(blocks, trunk.config.n_layer))]
    tensors |= _whole(model, saved)
    numbers = "|".join(map(str, range(blocks)))
    source, revision = _source(recipe.backbone)
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": source,
        "revision": revision,
        "r": recipe.rank,
        "lora_alpha": ALPHA,
        "use_rslora": True,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": True,
        "target_modules": rf"transformer\.h\.({numbers})\.({'|'.join(map(re.escape, _MATRICES))})",
        "modules_to_save": saved,
        "inference_mode": True,
    }
    labels = [str(label) for label in classifier.classes_]
    end = classifier.predictor_.tokenizer.end_of_text
    arguments = {
        "n_layer": trunk.config.n_layer,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        "pad_token_id": end,
        "dtype": "float32",
    }
    return Adapter(config, tensors, arguments)


def _frozen_names(blocks: int, trained: dict[str, Tensor]) -> Iterator[str]:
    """Yield the weights that LoRA leaves alone: embeddings, LayerNorms and biases of the blocks."""
    for name in trained:
        found = re.match(r"h\.(\d+)\.(.+)\.(weight|bias)$", name)
        if found is None:
            if name.startswith(("wte", "wpe")):
                yield name
        elif int(found[1]) < blocks and not (found[2] in _MATRICES and found[3] == "weight"):
            yield name


def _check_equal(name: str, ours: Tensor, theirs: Tensor | None, base: Backbone) -> None:
    if theirs is None or ours.shape != theirs.shape or not torch.equal(ours.cpu(), theirs.cpu()):
        raise CheckpointError(
            f"backbone {base.name}: {name} differs from the trained model's, which LoRA does not "
            "change; it is not the backbone that this model was trained from"
        )


def _factors(difference: Tensor, rank: int, size: float, *, where: str) -> tuple[Tensor, Tensor]:
    """Return A (rank, in) and B (out, rank) with B A = difference.

    Args:
        difference: (out, in) of that rank, up to rounding.
        rank: the rank.
        size: norm of the matrix that was changed.
        where: backbone and matrix, for errors.

    Raises:
        CheckpointError: the difference has a higher rank.
    """
    difference = difference.cpu()
    generator = torch.Generator().manual_seed(0)
    columns = min(rank + _SPARE, *difference.shape)
    probe = torch.randn(difference.shape[1], columns, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(difference @ probe).Q
    left, values, right = torch.linalg.svd(basis.T @ difference, full_matrices=False)
    root = values[:rank].sqrt()
    up, down = basis @ left[:, :rank] * root, root[:, None] * right[:rank]
    rest = float((difference - up @ down).norm())
    if rest > max(_TOLERANCE * float(difference.norm()), _ROUNDING * size):
        raise CheckpointError(
            f"{where}: the trained matrix differs from the backbone's by more than rank {rank}; it "
            "is not the backbone that this model was trained from"
        )
    return down, up


def _whole(model: GPT2Classifier, names: list[str]) -> dict[str, Tensor]:
    """Return the weights of whole modules, with transformers' names and orientation."""
    state = {f"transformer.{name}": t for name, t in standard_state(model.transformer).items()}
    state["score.weight"] = model.score.weight.detach().cpu()
    heads = tuple(f"{'' if name == 'score' else 'transformer.'}{name}." for name in names)
    return {
        _PREFIX + name: tensor.float().clone().contiguous()
        for name, tensor in state.items()
        if name.startswith(heads)
    }


def _source(backbone: str) -> tuple[str, str | None]:
    """Return where PEFT finds the base model: a repository with its revision, or a folder."""
    if (folder := local_folder(backbone)) is not None:
        return str(folder.resolve()), None
    if backbone in NAMED_BACKBONES:
        named = NAMED_BACKBONES[backbone]
        return named.repository, named.revision
    name, _, revision = backbone.partition("@")
    return name, revision or None


def _card(adapter: Adapter, name: str) -> str:
    arguments = ",\n    ".join(f"{key}={value!r}" for key, value in adapter.arguments.items())
    base, revision = adapter.config["base_model_name_or_path"], adapter.config["revision"]
    at = "" if revision is None else f"\n    revision={revision!r},"
    return f"""---
library_name: peft
base_model: {json.dumps(base)}
pipeline_tag: text-classification
tags:
- tamis
- gpt2
- lora
---

# {name}

A LoRA adapter of rank {adapter.config["r"]} trained with tamis.
The base model needs the number of blocks, the labels and fp32.
Weights that transformers reports as new are replaced by the adapter.

```python
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

base = AutoModelForSequenceClassification.from_pretrained(
    {base!r},{at}
    {arguments},
)
model = PeftModel.from_pretrained(base, {name!r}).eval()
tokenizer = AutoTokenizer.from_pretrained({name!r})
logits = model(**tokenizer("a text", return_tensors="pt")).logits
```
"""
