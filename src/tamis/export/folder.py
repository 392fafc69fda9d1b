"""The files of an exported folder: their names, and whether they are intact. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from tamis.classifier.model_folder import EXPORTED, META
from tamis.errors import CheckpointError
from tamis.export.description import ModelDescription
from tamis.files import as_path, sha256

MODEL = EXPORTED
WEIGHTS = f"{MODEL}.data"
"""Weights of a model above 2 GiB."""
TOKENIZER = "tokenizer.json"
SCRIPT = "predict.py"


def is_exported(run: Path | str) -> bool:
    """Return whether a path is an exported folder: a folder with an ONNX file and no model that
    torch can load.
    """
    folder = as_path(run, "run")
    if not (folder / MODEL).is_file():
        return False
    return not any((folder / name / "config.json").is_file() for name in (".", "model"))


def check_files(folder: Path) -> ModelDescription | None:
    """Check that the files are those that were exported; return the description in tamis.json, or
    None without one.

    Raises:
        CheckpointError: tamis.json is malformed, or a file is missing or was changed.
    """
    path = folder / META
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON ({error}); copy the whole exported folder again"
        ) from error
    description = ModelDescription.from_dict(values, str(path))
    files = values.get("files", {})
    if not isinstance(files, dict):
        raise CheckpointError(
            f"{path}: files must be an object of names and SHA-256, got {files!r:.60}; export the "
            "model again"
        )
    for name, expected in files.items():
        file = folder / Path(name).name
        if not file.is_file():
            raise CheckpointError(f"{file} is missing; copy the whole exported folder again")
        if name != SCRIPT and sha256(file) != expected:
            raise CheckpointError(
                f"{file} was truncated or altered after the export (its SHA-256 is not the one in "
                f"{META}); copy it again, or delete {META} to use the files as they are"
            )
    return description
