"""Where a run keeps its model. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tamis.data.files.columns import UsualColumn
from tamis.errors import CheckpointError, RunError
from tamis.files import as_path, similar_path

META = "tamis.json"
EXPORTED = "model.onnx"
"""File that marks a folder as an exported one (`tamis.export`)."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""Files of a PEFT adapter, whose base model is elsewhere."""
LABEL_TYPES: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: text == "True",
}
"""Types that labels may have, and how each comes back from its text."""


def find_model(run: Path | str) -> Path:
    """Return the model folder of a run folder, or the folder itself. `ORGANIZATION/NAME` or
    `ORGANIZATION/NAME@REVISION` is a model of the Hugging Face hub, which is downloaded if it is
    not in the hub's cache.

    Raises:
        ConfigError: `run` is no path.
        RunError: there is no such folder, its training is not finished, or it is an exported
            folder.
        CheckpointError: the folder contains no model.
        DownloadError, MissingExtraError: a model of the hub cannot be had.
    """
    run = as_path(run, "run")
    name = str(run)
    if not run.is_dir() and "/" in name:
        from tamis.gpt2.locate import remote_folder

        run = remote_folder(name) or run
    if run.exists() and not run.is_dir():
        raise RunError(
            f"{run} exists but is no run: it is a file; expected a run folder or a model folder "
            f"(train one with: tamis train {run}), and a file after it, such as: tamis predict RUN "
            f"--file {run}"
        )
    if not run.is_dir():
        raise RunError(
            f"{run} does not exist; expected a run folder or a model folder (train one with: "
            f"tamis train DATA -o {run}){f'; {near}' if (near := similar_path(run)) else ''}"
        )
    if (run / "model" / "config.json").is_file():
        return run / "model"
    run = _snapshot(run)
    if (run / "config.json").is_file() or (run / ADAPTER_FILES[0]).is_file():
        return run
    if (run / EXPORTED).is_file():
        raise RunError(
            f"{run} is an exported folder, which can be used to predict, explain and serve only; "
            "for everything else use the run that it was exported from"
        )
    if (run / "checkpoint" / "asked.json").is_file():
        raise RunError(
            f"{run} contains an unfinished training; repeat the same tamis train command to "
            "resume it"
        )
    if (run / META).is_file():
        raise CheckpointError(
            f"{run} contains {META} but neither config.json nor {EXPORTED}, one of which belongs "
            "to it; copy the whole folder again"
        )
    raise CheckpointError(
        f"{run} exists but is no run: it contains no model (expected model/config.json or "
        f"config.json){_runs_inside(run)}"
    )


def _runs_inside(folder: Path) -> str:
    """Return a hint at run folders in a folder, or nothing."""
    inside = sorted(path.parent.parent for path in folder.glob("*/model/config.json"))
    if not inside:
        return ""
    more = f" and {len(inside) - 5} more" if len(inside) > 5 else ""
    return f"; did you mean {', '.join(map(str, inside[:5]))}{more}?"


def training_columns(run: Path | str) -> tuple[UsualColumn | None, UsualColumn | None]:
    """Return the names of the text and the label column of the table that a model was trained on;
    None where the model does not know them.

    Raises:
        RunError, CheckpointError: see `find_model`.
    """
    folder = Path(run) if (Path(run) / EXPORTED).is_file() else find_model(run)
    try:
        about = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        about = {}
    # An exported folder has only the columns that were asked for, with the recipe.
    found = _value(about, "data") or _value(about, "source", "recipe", "data")
    named = found if isinstance(found, dict) else {}
    text, label = (
        UsualColumn(named[role]) if isinstance(named.get(role), str) else None
        for role in ("text", "label")
    )
    return text, label


def _value(about: Any, *names: str) -> Any:
    """Return a value inside of dictionaries; None if it is not there."""
    for name in names:
        about = about.get(name) if isinstance(about, dict) else None
    return about


def _snapshot(run: Path) -> Path:
    """Return the files of a repository's folder in the hub's cache; other folders as they are."""
    if not (run / "snapshots").is_dir():
        return run
    from tamis.gpt2.hub_cache import snapshot_in

    return snapshot_in(run)
