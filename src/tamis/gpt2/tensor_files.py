"""Reads the weights of a folder in the Hugging Face layout: one safetensors file, or several with
an index. Pickle files are not read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from tamis.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.safetensors"


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
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON ({error}); download or save the folder again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read all weights of a model folder.

    Raises:
        CheckpointError: there are none, or only pickle files; a file is truncated or altered.
    """
    names = weight_files(folder)
    if not names:
        pickled = next(
            iter(sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt*")])), None
        )
        other = next(iter(sorted([*folder.glob("*.h5"), *folder.glob("*.msgpack")])), None)
        advice = (
            f"{pickled.name} is a pickle file, which tamis does not read; save the model again "
            "with safe_serialization=True"
            if pickled
            else f"{other.name} is of TensorFlow or Flax, which tamis does not read; save the "
            "model as safetensors"
            if other
            else "download or save the weights as safetensors"
        )
        raise CheckpointError(f"{folder / WEIGHTS} is missing; {advice}")
    tensors: dict[str, Tensor] = {}
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder / name} is missing, but {WEIGHTS}.index.json names it; download or save "
                "the folder again"
            )
        tensors |= read_tensor_file(folder / name)
    return tensors


def read_tensor_file(path: Path) -> dict[str, Tensor]:
    """Read one safetensors file.

    Raises:
        CheckpointError: it is missing, truncated or altered.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # no mapping
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; download or save the folder again") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated, altered or not safetensors ({error}); download or save it again"
        ) from error


def weight_files(folder: Path) -> list[str]:
    """Return the names of a folder's files of weights; none if there is neither a file nor an
    index.

    Raises:
        CheckpointError: the index is damaged, or names a file outside of the folder.
    """
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    index = folder / f"{WEIGHTS}.index.json"
    if not index.is_file():
        return []
    places = read_json(index).get("weight_map")
    names = set(places.values()) if isinstance(places, dict) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise CheckpointError(
            f"{index}: weight_map: expected a file in the same folder for every weight; download "
            "or save the folder again"
        )
    return sorted(names)
