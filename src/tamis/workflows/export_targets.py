"""`tamis export` to other targets than ONNX Runtime: a web page, an adapter of PEFT."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tamis.classifier.model_folder import find_model
from tamis.errors import RunError
from tamis.export.description import ModelDescription
from tamis.export.folder import is_exported
from tamis.export.peft_adapter import CONFIG, Adapter, export_peft
from tamis.export.web.page_folder import export_web, is_web_page
from tamis.export.web.runtime import ORT, Runtime
from tamis.progress import Progress
from tamis.workflows.export import (
    ExportRequest,
    classifier_to_export,
    default_folder,
    export_command,
    texts_to_compare,
)


def export_web_command(
    run: Path,
    request: ExportRequest,
    runtime: Runtime,
    *,
    compute: Mapping[str, Any],
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> tuple[Path, ModelDescription]:
    """Export a run, or an exported ONNX folder, as a web page.

    The weights have 8 bits if there are texts to compare labels on.

    Args:
        run: run or model folder, or an exported folder, which is used as it is.
        request: where it is written, and from which texts the 8-bit matrices are chosen.
        runtime: where the programs of others come from.
        compute: device, threads, dtype.
        say: receives messages for the user.
        progress: receives progress updates.

    Returns:
        The folder and the description of the model.

    Raises:
        TamisError: the run, the texts or the runtime cannot be read, or the folder cannot be
            written.
    """
    if not is_exported(run):
        find_model(run)
    out = request.out or default_folder(run, "web")
    _check_target(out, run, "a web page", is_web_page(out), overwrite=request.overwrite)
    for file in ORT:  # asked for first: nothing is computed for a page that cannot be written
        runtime.path(file)
    if is_exported(run):
        return out, export_web(run, out, runtime)
    compared = bool(texts_to_compare(run, request)[0])
    if not compared:
        say(
            "the page gets 32-bit weights, because there are no texts to compare 8-bit ones on; "
            "pass a table with --data for a page of about a third of the size"
        )
    with tempfile.TemporaryDirectory() as temporary:
        exported = Path(temporary) / "onnx"
        inner = replace(request, out=exported, int8=compared, overwrite=False)
        export_command(run, inner, compute=compute, say=say, progress=progress)
        return out, export_web(exported, out, runtime)


def export_peft_command(
    run: Path,
    request: ExportRequest,
    *,
    compute: Mapping[str, Any],
    say: Callable[[str], None],
) -> tuple[Path, Adapter]:
    """Export a run of `lora:R` as an adapter of PEFT.

    Args:
        run: run or model folder.
        request: where it is written (RUN-peft beside the run by default), and which corrections
            the exported head has learned.
        compute: device, threads, dtype.
        say: receives messages for the user.

    Returns:
        The folder and the adapter.

    Raises:
        TamisError: the run has no adapter, or the folder cannot be written.
    """
    if is_exported(run):
        raise RunError(f"{run} is an exported folder; export the run that it came from")
    find_model(run)
    out, overwrite = request.out or default_folder(run, "peft"), request.overwrite
    _check_target(out, run, "an adapter", (out / CONFIG).is_file(), overwrite=overwrite)
    classifier = classifier_to_export(run, request.feedback, compute=compute, say=say)
    return out, export_peft(classifier, out)


def _check_target(out: Path, run: Path, what: str, known: bool, *, overwrite: bool) -> None:
    """Check that a folder may be written; `known`: it holds an earlier export of the same kind."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if out.resolve() == run.resolve() or not known:
        raise RunError(
            f"{out} exists and is not {what}; choose another folder with -o (its content was not "
            "changed)"
        )
    if not overwrite:
        raise RunError(
            f"{out} exists; choose another folder with -o, or pass --overwrite to replace it"
        )
