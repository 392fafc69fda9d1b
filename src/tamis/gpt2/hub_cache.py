"""The Hugging Face hub's cache as it lies on disk, read without the hub's client.

Layout: `models--ORGANIZATION--NAME/refs/REVISION` holds a commit, and `snapshots/COMMIT/` its
files. Source: huggingface_hub's guide "Manage your cache".
"""

from __future__ import annotations

import os
from pathlib import Path


def hub_cache_directory() -> Path:
    """Return the hub's cache folder by the environment variables that its client honours."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if chosen := os.environ.get(variable):
            return Path(chosen).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "huggingface" / "hub"


def cached_snapshot(repository: str, revision: str) -> Path | None:
    """Return the folder of a revision in the cache, or None.

    Args:
        repository: `organization/name`.
        revision: commit, tag or branch.
    """
    return _snapshot(hub_cache_directory() / f"models--{repository.replace('/', '--')}", revision)


def snapshot_in(folder: Path) -> Path:
    """Return the files of a repository's folder in the hub's cache: those of `main`, else of the
    only revision. Any other folder is returned as it is.
    """
    snapshots = folder / "snapshots"
    if not snapshots.is_dir() or (folder / "config.json").is_file():
        return folder
    found = _snapshot(folder, "main")
    if found is not None:
        return found
    each = [path for path in snapshots.iterdir() if path.is_dir()]
    return each[0] if len(each) == 1 else folder


def _snapshot(folder: Path, revision: str) -> Path | None:
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    found = folder / "snapshots" / commit
    return found if commit not in ("", ".", "..") and found.is_dir() else None
