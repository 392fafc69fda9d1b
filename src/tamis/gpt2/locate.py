"""The folder that a name of a pretrained GPT-2 means: embedded, local, named, or on the hub."""

from __future__ import annotations

from pathlib import Path

from tamis.download import Progress
from tamis.errors import DownloadError
from tamis.gpt2.hub import NAMED_BACKBONES, fetch_backbone
from tamis.gpt2.hub_cache import snapshot_in
from tamis.gpt2.hub_repository import fetch_repository, hub_name

EMBEDDED = ("nano",)
"""Backbones inside the package, without download: folders of `embedded/`, each with a model
card."""
_EMBEDDED_FOLDER = Path(__file__).parent / "embedded"


def local_folder(name: str | Path) -> Path | None:
    """Return the folder of a backbone that needs no download: an embedded one by name, or a folder.

    The name takes precedence: use `./nano` for a folder named `nano`.
    """
    if str(name) in EMBEDDED:
        return _EMBEDDED_FOLDER / str(name)
    folder = Path(name).expanduser()
    return snapshot_in(folder) if folder.is_dir() else None


def remote_folder(name: str, *, progress: Progress | None = None) -> Path | None:
    """Return the folder of a named backbone or of a repository of the hub, after a download if
    necessary; None if the name can be neither.

    In one process, a name means the same commit every time.

    Raises:
        MissingExtraError: the files are not in the cache and `huggingface-hub` is not installed.
        DownloadError: the files cannot be had, **or** have wrong checksums.
    """
    if name in NAMED_BACKBONES:
        return fetch_backbone(name, progress=progress)
    wanted = hub_name(name)
    if wanted is None:
        return None
    known = {backbone.repository: short for short, backbone in NAMED_BACKBONES.items()}
    if "@" not in name and wanted.repository in known:  # verified by checksums of tamis's own
        return fetch_backbone(known[wanted.repository], progress=progress)
    found = _RESOLVED.get(name)
    if found is None or not found.is_dir():
        try:
            found = _RESOLVED[name] = fetch_repository(wanted, progress=progress)
        except DownloadError as error:
            raise DownloadError(
                f"{name} is no folder here, and on the Hugging Face hub it cannot be had: {error}"
            ) from error
    return found


_RESOLVED: dict[str, Path] = {}
