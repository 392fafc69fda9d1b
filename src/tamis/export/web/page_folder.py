"""Write the web page of an exported model (the package's docstring shows the folder)."""

from __future__ import annotations

import base64
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from tamis.errors import ConfigError, RunError
from tamis.export.description import ModelDescription
from tamis.export.folder import MODEL, TOKENIZER, check_files, is_exported
from tamis.export.web.runtime import (
    ONIG_SCRIPT,
    ONIG_WASM,
    ORT_MODULE,
    ORT_SCRIPT,
    ORT_WASM,
    Runtime,
)
from tamis.export.web.tokenizer_support import check_tokenizer
from tamis.files import replaced_folder, write_text

PAGE = "index.html"
_DESCRIPTION = "data/description.js"
_SCRIPTS = ("style.css", "page.js", "normalizer.js", "tokenizer.js", "classifier.js")
_PLACE = "<!-- oniguruma -->\n"
_SOURCE = ("backbone", "tune", "version")
"""Facts about the model that the page shows; the rest is the owner's."""
MOST_BYTES = 380_000_000
"""Largest model: as text it must fit into one string of the browser, which has at most 2^29
characters in Chromium."""


def is_web_page(folder: Path) -> bool:
    """Return whether a folder is an exported web page."""
    return (folder / PAGE).is_file() and (folder / _DESCRIPTION).is_file()


def export_web(exported: Path, folder: Path, runtime: Runtime) -> ModelDescription:
    """Write the page of an exported ONNX folder, atomically; an existing folder is replaced.

    Args:
        exported: folder of `export_onnx`.
        folder: the page.
        runtime: where the programs of others come from.

    Returns:
        The description of the model.

    Raises:
        RunError: `exported` is not an exported folder.
        CheckpointError: its files were changed, or the runtime has another version.
        ConfigError: the model is too large for a page, or its tokenizer is unknown to the page.
        DownloadError: the runtime cannot be downloaded.
    """
    description = check_files(exported) if is_exported(exported) else None
    if description is None:
        raise RunError(
            f"{exported} is not an exported folder with tamis.json; write it with: tamis export "
            "RUN --to onnx"
        )
    model, text = exported / MODEL, (exported / TOKENIZER).read_text(encoding="utf-8")
    size = sum(path.stat().st_size for path in exported.glob(f"{MODEL}*"))
    if size > MOST_BYTES:
        raise ConfigError(
            f"the model has {size / 1e6:,.0f} MB; a web page can have at most "
            f"{MOST_BYTES / 1e6:,.0f} MB: use --int8, or a smaller backbone"
        )
    regular = check_tokenizer(json.loads(text))
    with replaced_folder(folder) as beside:
        for name in ("data", "runtime"):
            (beside / name).mkdir()
        _write_pages(beside, regular=regular)
        shutil.copyfile(runtime.path(ORT_SCRIPT), beside / "runtime" / "ort.wasm.min.js")
        _write_data(beside / "data" / "tokenizer.js", tokenizer=text)
        _write_data(beside / "data" / "model.js", model=model)
        parts = {"runtimeModule": runtime.path(ORT_MODULE), "runtimeWasm": runtime.path(ORT_WASM)}
        _write_data(beside / "data" / "runtime.js", **parts)
        files = ["tokenizer.js", "runtime.js", "model.js"]
        if regular:
            shutil.copyfile(runtime.path(ONIG_SCRIPT), beside / "runtime" / "oniguruma.js")
            _write_data(beside / "data" / "oniguruma.js", onigurumaWasm=runtime.path(ONIG_WASM))
            files.insert(0, "oniguruma.js")
        shown = json.dumps(_shown(description))
        write_text(
            beside / _DESCRIPTION,
            f"globalThis.tamisData = {{ description: {shown}, files: {json.dumps(files)} }};\n",
        )
    return description


def _shown(description: ModelDescription) -> dict[str, Any]:
    """Return the description without what is only for the owner of the model."""
    source = {name: description.source.get(name) for name in _SOURCE}
    source["backbone"] = Path(str(source["backbone"])).name
    return {**description.to_dict(), "source": source}


def _write_pages(folder: Path, *, regular: bool) -> None:
    static = resources.files("tamis.export") / "web" / "static"
    for name in _SCRIPTS:
        write_text(folder / name, (static / name).read_text(encoding="utf-8"))
    page = (static / PAGE).read_text(encoding="utf-8")
    script = '<script src="runtime/oniguruma.js"></script>\n' if regular else ""
    write_text(folder / PAGE, page.replace(_PLACE, script))
    licenses = (static / "LICENSES.txt").read_text(encoding="utf-8")
    write_text(folder / "LICENSES.txt", licenses)


def _write_data(target: Path, **values: str | Path) -> None:
    """Write a script that sets `tamisData`: texts as they are, files in base64."""
    with target.open("w", encoding="ascii", newline="\n") as file:
        for name, value in values.items():
            file.write(f"tamisData.{name} = ")
            if isinstance(value, Path):
                file.write('"')
                file.write(base64.b64encode(value.read_bytes()).decode("ascii"))
                file.write('";\n')
            else:
                file.write(f"{json.dumps(value)};\n")
