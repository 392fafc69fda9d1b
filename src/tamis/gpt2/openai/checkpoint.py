"""Reads OpenAI's GPT-2 checkpoint folder (hparams.json, checkpoint, model.ckpt.*).

Owns the three namings of the tensors: OpenAI's, the nested dict of the book "Build a Large Language
Model (From Scratch)" (gpt_download.py), and Hugging Face's. It builds no network and reads no
vocabulary. Sources: openai/gpt-2 src/model.py; transformers
convert_gpt2_original_tf_checkpoint_to_pytorch.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import CheckpointError, ConfigError
from tamis.files import as_path
from tamis.gpt2.openai.missing_folder import problem_of
from tamis.gpt2.openai.tensor_bundle import TensorBundle

Settings = dict[str, int]
Params = dict[str, Any]
"""blocks: a list of {attn: {c_attn, c_proj}, mlp: {c_fc, c_proj}: {w, b}; ln_1, ln_2: {g, b}}; b,
g, wpe, wte."""
Array = NDArray[np.float32]

_CONFIG_KEYS = {
    "vocab_size": "n_vocab",
    "emb_dim": "n_embd",
    "context_length": "n_ctx",
    "n_layers": "n_layer",
    "n_heads": "n_head",
}
_SETTINGS = ("n_vocab", "n_ctx", "n_embd", "n_head", "n_layer")  # in the order of hparams.json


def is_openai_folder(folder: Path) -> bool:
    """Return whether `folder` has OpenAI's layout: `hparams.json` and a TensorFlow checkpoint."""
    marks = ("checkpoint", "model.ckpt.index")
    return (folder / "hparams.json").is_file() and any((folder / mark).is_file() for mark in marks)


def read_openai(folder: Path | str) -> tuple[Settings, Params]:
    """Questions 2 and 3 of the reference: return GPT-2's `settings` and its weights as the nested
    dict `params`.

    Shapes (V = n_vocab, T = n_ctx, C = n_embd), all float32:
        wte (V, C), wpe (T, C), g and b (C,) of the final LayerNorm, and n_layer blocks, each with
        attn.c_attn w (C, 3C), attn.c_proj w (C, C), mlp.c_fc w (C, 4C), mlp.c_proj w (4C, C), a
        bias b of each, and ln_1 and ln_2 g and b (C,).

    The CRC of every tensor is checked. Tensors outside OpenAI's scope `model/` (an optimizer's) are
    not read.

    Args:
        folder: path of the folder with OpenAI's files. A name such as "gpt2" is none: pass what
            `fetch_backbone("gpt2", source="openai")` returns.

    Raises:
        CheckpointError: `folder` is no such folder (the message says what to do), **or** a file is
            missing, truncated or altered, **or** `hparams.json` lacks a key,
            **or** names and shapes do not match it (all missing, unexpected and mismatched tensors
            are listed).

    Source: rasbt/LLMs-from-scratch, ch05, gpt_download.py, load_gpt2_params_from_tf_ckpt (needs
    TensorFlow).
    """
    folder = as_path(folder, "folder").expanduser()
    if problem := problem_of(folder):
        raise CheckpointError(problem)
    settings = _read_settings(folder / "hparams.json")
    bundle = TensorBundle(folder / _checkpoint_prefix(folder / "checkpoint"))
    expected = _expected_shapes(settings)
    found = {
        name: entry.shape for name, entry in bundle.entries.items() if name.startswith("model/")
    }
    _check_shapes(expected, found, where=f"{bundle.index_path} against hparams.json")
    tensors = {}
    for name in expected:
        array = bundle.read(name)
        if array.dtype != np.float32:
            raise CheckpointError(f"{bundle.index_path}: {name} is {array.dtype}, expected float32")
        tensors[name] = array.astype(np.float32, copy=False)
    return settings, _nest(tensors, settings["n_layer"])


def model_config(settings: Mapping[str, int]) -> dict[str, Any]:
    """Question 4 of the reference: return `settings` with the names of its `GPTModel`, with dropout
    0.

    Raises:
        ConfigError: a key of `settings` is missing.

    >>> model_config(
    ...     {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
    ... )["context_length"]
    1024
    """
    if missing := [key for key in _SETTINGS if key not in settings]:
        raise ConfigError(f"settings: expected {list(_SETTINGS)}, missing {missing}")
    return {ours: settings[theirs] for ours, theirs in _CONFIG_KEYS.items()} | {"dropout": 0.0}


def settings_from_config(config: Mapping[str, Any]) -> Settings:
    """Return OpenAI's five settings, in the order of `hparams.json`: the inverse of `model_config`.

    Raises:
        ConfigError: a key of `config` is missing.
    """
    if missing := [key for key in _CONFIG_KEYS if key not in config]:
        raise ConfigError(f"config: expected {list(_CONFIG_KEYS)}, missing {missing}")
    named = {theirs: int(config[ours]) for ours, theirs in _CONFIG_KEYS.items()}
    return {key: named[key] for key in _SETTINGS}


def to_state_dict(settings: Mapping[str, int], params: Mapping[str, Any]) -> dict[str, Array]:
    """Return `params` with Hugging Face's names (without `transformer.`): `wte.weight`,
    `h.0.attn.c_attn.weight`, ...

    Matrices keep OpenAI's orientation (in, out), which is that of Hugging Face's `Conv1D`. Nothing
    is copied.

    Raises:
        CheckpointError: `params` lacks a tensor, has an unknown tensor, or has one of another shape
            than `settings` requires.
    """
    flat = _flatten(params)
    expected = {name: _squeezed(shape) for name, shape in _expected_shapes(settings).items()}
    _check_shapes(
        expected,
        {name: array.shape for name, array in flat.items()},
        where="params against settings",
    )
    return {_hugging_face_name(name): flat[name] for name in expected}


def from_state_dict(state: Mapping[str, Array], *, n_head: int) -> tuple[Settings, Params]:
    """Convert a GPT-2 state dict with Hugging Face's names to (`settings`, `params`): the inverse
    of `to_state_dict`.

    A prefix `transformer.`, a head (`lm_head`, `score`) and the buffers of the causal mask are
    dropped. `n_head` is needed because the weights do not show the number of heads.

    Raises:
        CheckpointError: tensors are missing, unknown, or of shapes that do not match each other.
    """
    state = {name.removeprefix("transformer."): array for name, array in state.items()}
    no_trunk = re.compile(r"(lm_head|score)\..*|h\.\d+\.attn\.(masked_)?bias")
    state = {name: array for name, array in state.items() if not no_trunk.fullmatch(name)}
    lacking = [
        name for name in ("wte.weight", "wpe.weight") if name not in state or state[name].ndim != 2
    ]
    if lacking:
        raise CheckpointError(
            "state dict: expected the matrices wte.weight and wpe.weight, found no matrix "
            f"{lacking}"
        )
    layers = {int(match[1]) for name in state if (match := re.match(r"h\.(\d+)\.", name))}
    (n_vocab, n_embd), n_ctx = state["wte.weight"].shape, state["wpe.weight"].shape[0]
    sizes = (n_vocab, n_ctx, n_embd, n_head, max(layers, default=-1) + 1)
    settings = dict(zip(_SETTINGS, sizes, strict=True))
    ours = {_hugging_face_name(name): name for name in _expected_shapes(settings)}
    expected = {
        _hugging_face_name(name): _squeezed(shape)
        for name, shape in _expected_shapes(settings).items()
    }
    _check_shapes(
        expected, {name: array.shape for name, array in state.items()}, where="state dict"
    )
    return settings, _nest({ours[name]: state[name] for name in expected}, settings["n_layer"])


def _read_settings(path: Path) -> Settings:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: expected OpenAI's settings, found no such file; download it again"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path}: expected JSON, got {error}; download it again") from error
    content = content if isinstance(content, dict) else {}
    if missing := [key for key in _SETTINGS if key not in content]:
        raise CheckpointError(
            f"{path}: expected the keys {list(_SETTINGS)}, missing {missing}; download it again"
        )
    wrong = {
        key: content[key] for key in _SETTINGS if type(content[key]) is not int or content[key] < 1
    }
    if wrong:
        raise CheckpointError(
            f"{path}: expected whole numbers of at least 1, got {wrong}; download it again"
        )
    if content["n_embd"] % content["n_head"]:
        raise CheckpointError(
            f"{path}: n_embd {content['n_embd']} is not a multiple of n_head "
            f"{content['n_head']}; download it again"
        )
    return {key: content[key] for key in _SETTINGS}


def _checkpoint_prefix(path: Path) -> str:
    """Return the name in `model_checkpoint_path: "model.ckpt"`.

    A directory in it belongs to the machine that wrote the file, and is ignored.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: expected the file that names the checkpoint, found none; it holds the line "
            'model_checkpoint_path: "model.ckpt"'
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path}: expected text, got {error}; download it again") from error
    match = re.search(r'^\s*model_checkpoint_path:\s*"([^"]*[^"/\\])"', text, re.MULTILINE)
    if match is None:
        raise CheckpointError(
            f'{path}: expected a line model_checkpoint_path: "model.ckpt", got {text[:80]!r}'
        )
    return re.split(r"[/\\]", match[1])[-1]


def _expected_shapes(settings: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return OpenAI's name -> stored shape; matrices have a leading 1, as convolutions."""
    c = settings["n_embd"]
    shapes: dict[str, tuple[int, ...]] = {
        "model/wte": (settings["n_vocab"], c),
        "model/wpe": (settings["n_ctx"], c),
    }
    for layer in range(settings["n_layer"]):
        block = f"model/h{layer}"
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}/{norm}/g": (c,), f"{block}/{norm}/b": (c,)}
        matrices = {
            "attn/c_attn": (c, 3 * c),
            "attn/c_proj": (c, c),
            "mlp/c_fc": (c, 4 * c),
            "mlp/c_proj": (4 * c, c),
        }
        for name, (rows, columns) in matrices.items():
            shapes |= {f"{block}/{name}/w": (1, rows, columns), f"{block}/{name}/b": (columns,)}
    return shapes | {"model/ln_f/g": (c,), "model/ln_f/b": (c,)}


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if len(shape) == 3 else shape


def _check_shapes(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], *, where: str
) -> None:
    problems = [
        f"missing {name} {list(shape)}" for name, shape in expected.items() if name not in found
    ]
    problems += [
        f"unexpected {name} {list(shape)}" for name, shape in found.items() if name not in expected
    ]
    problems += [
        f"{name} is {list(found[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != shape
    ]
    if problems:
        shown = "; ".join(problems[:20]) + (
            f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        )
        raise CheckpointError(f"{where}: {len(problems)} tensors do not match: {shown}")


def _nest(tensors: Mapping[str, Array], n_layer: int) -> Params:
    """`model/h3/attn/c_attn/w` -> params["blocks"][3]["attn"]["c_attn"]["w"]; `model/ln_f/g` ->
    params["g"].
    """
    params: Params = {"blocks": [{} for _ in range(n_layer)]}
    for name, array in tensors.items():
        _, first, *rest = name.split("/")
        if layer := re.fullmatch(r"h(\d+)", first):
            target = params["blocks"][int(layer[1])]
            for part in rest[:-1]:
                target = target.setdefault(part, {})
        else:
            target = params
        target[rest[-1] if rest else first] = array[0] if array.ndim == 3 else array
    return params


def _flatten(params: Mapping[str, Any]) -> dict[str, Array]:
    """The inverse of `_nest`, without the leading 1 of the matrices."""
    flat: dict[str, Array] = {}

    def walk(node: object, path: str) -> None:
        if isinstance(node, Mapping):
            for key, child in node.items():
                walk(child, f"{path}/{key}")
        else:
            flat[path] = np.asarray(node)

    for key, child in params.items():
        if key == "blocks":
            for layer, block in enumerate(child):
                walk(block, f"model/h{layer}")
        else:
            flat[f"model/ln_f/{key}" if key in {"g", "b"} else f"model/{key}"] = np.asarray(child)
    return flat


def _hugging_face_name(name: str) -> str:
    """`model/h3/ln_1/g` -> `h.3.ln_1.weight`: g and w become weight, b becomes bias."""
    parts = re.sub(r"/h(\d+)/", r"/h/\1/", name).split("/")[1:]
    kind = {"g": "weight", "w": "weight", "b": "bias"}.get(parts[-1])
    return ".".join([*parts[:-1], kind] if kind else [*parts, "weight"])
