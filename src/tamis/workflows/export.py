"""`tamis export`: write a trained model for other programs, and check what was written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from tamis.classifier.model_folder import find_model
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import PREDICTIONS
from tamis.data.files.message_reader import read_messages
from tamis.errors import CheckpointError, ConfigError, RunError
from tamis.export.description import ModelDescription
from tamis.export.folder import is_exported
from tamis.export.onnx_classifier import OnnxClassifier
from tamis.export.onnx_folder import ExportOptions, export_onnx
from tamis.feedback.in_effect import counted
from tamis.feedback.loading import BY_DEFAULT, FeedbackChoice, load_with_feedback
from tamis.progress import Progress

CHECKED = (
    "Hello, are you coming tonight?",
    "FREE entry! Text WIN to 80085 now, 150p/msg",
    "",
    "dîner à 20h 🎂 <|endoftext|>",
)
"""Texts that are scored before and after an fp32 export, beside those of the run."""
MOST_CHECKED = 64
LARGEST_DIFFERENCE = 1e-3
"""Of probabilities before and after an fp32 export; rounding makes 1e-6 to 1e-5."""


@dataclass(frozen=True)
class ExportRequest:
    """What is written, and where."""

    out: Path | None = None
    """the folder; None: RUN-onnx beside the run"""
    int8: bool = False
    data: Path | None = None
    """table with texts that choose the 8-bit matrices; None: the evaluated rows of the run"""
    column: str | None = None
    """text column of `data`"""
    opset: int | None = None
    overwrite: bool = False
    feedback: FeedbackChoice = BY_DEFAULT
    """which corrections the exported head has learned"""


def export_command(
    run: Path,
    request: ExportRequest,
    *,
    compute: Mapping[str, Any],
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> tuple[Path, ModelDescription]:
    """Export a run as a folder for ONNX Runtime.

    Args:
        run: run or model folder.
        request: what is written, and where.
        compute: device, threads, dtype.
        say: receives messages for the user.
        progress: receives progress updates.

    Returns:
        The folder and the description of the exported model.

    Raises:
        TamisError: the run or the texts cannot be read, the folder cannot be written, or the
            exported model gives other probabilities.
    """
    if is_exported(run):
        raise RunError(f"{run} is already an exported folder; export the run that it came from")
    find_model(run)
    out = request.out or default_folder(run, "onnx-int8" if request.int8 else "onnx")
    check_target(out, run, overwrite=request.overwrite)
    texts, source = texts_to_compare(run, request)
    if request.int8 and texts:
        say(f"comparing int8 with fp32 on {len(texts):,} {source}")
    classifier = classifier_to_export(run, request.feedback, compute=compute, say=say)
    options = ExportOptions(request.int8, texts, request.opset)

    def check(folder: Path) -> None:
        if not request.int8:
            _check(classifier, folder, [*CHECKED, *texts[:MOST_CHECKED]], say)

    description = export_onnx(classifier, out, options, check=check, progress=progress)
    return out, description


def classifier_to_export(
    run: Path,
    feedback: FeedbackChoice,
    *,
    compute: Mapping[str, Any],
    say: Callable[[str], None],
) -> TextClassifier:
    """Return the classifier of a run in fp32, with the corrections in effect, and say so.

    Raises:
        TamisError: the run or its store cannot be read.
    """
    find_model(run)  # raises for an exported folder
    loaded = load_with_feedback(run, feedback, **{**compute, "dtype": "fp32"})
    for note in loaded.feedback.notes:
        say(note)
    if loaded.feedback.used:
        say(
            f"the exported head has learned {counted(len(loaded.feedback.used))}; "
            "corrections that are learned later need another export"
        )
    classifier: Any = loaded.classifier
    return cast("TextClassifier", classifier)


def default_folder(run: Path, kind: str) -> Path:
    """Return the folder beside a run that an export is written to by default."""
    path = run.resolve()
    path = path.parent if path.name == "model" else path
    return path.with_name(f"{path.name}-{kind}")


def check_target(out: Path, run: Path, *, overwrite: bool) -> None:
    """Check that a folder may be written.

    Raises:
        RunError: it exists, and is not an exported folder that may be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if out.resolve() in (run.resolve(), find_model(run).resolve()) or not is_exported(out):
        raise RunError(
            f"{out} exists and is not an exported folder; choose another folder with -o (its "
            "content was not changed)"
        )
    if not overwrite:
        raise RunError(
            f"{out} exists; choose another folder with -o, or pass --overwrite to replace it"
        )


def texts_to_compare(run: Path, request: ExportRequest) -> tuple[list[str], str]:
    """Return texts for comparisons, and what they are: those of `data`, else the validation or test
    texts of the run; without any an empty list.

    Raises:
        TamisError: they cannot be read.
    """
    if request.data is not None:
        messages = read_messages(request.data, text=request.column)
        return [message.text for message in messages], f"texts of {request.data}"
    model = find_model(run)
    path = next((p for p in (run, model.parent) if (p / PREDICTIONS).is_file()), None)
    if path is None:
        return [], ""
    parts: dict[str, list[str]] = {}
    try:
        with (path / PREDICTIONS).open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                parts.setdefault(row["part"], []).append(row["text"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path / PREDICTIONS} cannot be read ({type(error).__name__}: {error}); pass a table "
            "of texts with --data"
        ) from None
    part = next((name for name in ("validation", "test") if parts.get(name)), None)
    return ([], "") if part is None else (parts[part], f"{part} texts of the run")


def _check(
    classifier: TextClassifier, folder: Path, texts: list[str], say: Callable[[str], None]
) -> None:
    """Compare the exported model with the one it was made from."""
    if find_spec("onnxruntime") is None:
        say("the exported model was not checked: onnxruntime is not installed")
        return
    exported = OnnxClassifier.load(folder, threads=classifier.predictor_.threads)
    found = exported.predict_proba(texts) - classifier.predict_proba(texts)
    difference = float(np.abs(found).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise CheckpointError(
            f"the exported model gives other probabilities (difference {difference:.2g} on "
            f"{len(texts)} texts), so nothing was written; report this with the versions of onnx "
            "and onnxruntime"
        )
    say(f"checked on {len(texts)} texts: probabilities differ by at most {difference:.1g}")
