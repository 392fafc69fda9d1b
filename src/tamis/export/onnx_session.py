"""Open an exported model with ONNX Runtime: its session, and the description it contains. Imports
no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import CheckpointError
from tamis.export.description import ModelDescription
from tamis.gpt2.onnx import INPUTS, OUTPUTS
from tamis.gpt2.onnx.session import run_session

KEY = "tamis"
"""Entry of the file's metadata with the description."""
_AGAIN = "export it again with: tamis export RUN --to onnx"


@dataclass(frozen=True)
class OpenModel:
    """An exported model that is ready to run."""

    session: Any
    """onnxruntime.InferenceSession"""
    description: ModelDescription


def open_model(path: Path, *, threads: int) -> OpenModel:
    """Open an ONNX file that `export_onnx` wrote.

    Args:
        path: the file.
        threads: CPU threads of a run.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: ONNX Runtime cannot load the file, or the file has no description or one
            that does not fit its inputs and outputs.
    """
    session = run_session(path, threads=threads)
    entry = session.get_modelmeta().custom_metadata_map.get(KEY)
    if entry is None:
        raise CheckpointError(
            f"{path} has no metadata of tamis (entry {KEY!r}), so its labels and threshold are "
            f"unknown; {_AGAIN}"
        )
    where = f"{path}, metadata entry {KEY!r}"
    try:
        values = json.loads(entry)
    except ValueError as error:
        raise CheckpointError(f"{where} is not JSON ({error}); {_AGAIN}") from None
    description = ModelDescription.from_dict(values, where)
    _check_ends(path, session, description)
    return OpenModel(session, description)


def _check_ends(path: Path, session: Any, description: ModelDescription) -> None:
    inputs = tuple(one.name for one in session.get_inputs())
    outputs = {one.name: one.shape for one in session.get_outputs()}
    if inputs != INPUTS or tuple(outputs) != OUTPUTS:
        raise CheckpointError(
            f"{path}: expected the inputs {', '.join(INPUTS)} and the outputs "
            f"{', '.join(OUTPUTS)}, got {', '.join(inputs)} and {', '.join(outputs)}; {_AGAIN}"
        )
    classes = outputs["logits"][-1]
    if classes != len(description.labels):
        raise CheckpointError(
            f"{path}: the metadata names {len(description.labels)} labels "
            f"({', '.join(description.labels)}), but the model has {classes} logits; {_AGAIN}"
        )
