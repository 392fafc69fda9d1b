"""The cache folder for downloaded and computed files, and the offline switch."""

from __future__ import annotations

import os
from pathlib import Path

_OFFLINE_SWITCHES = ("TAMIS_OFFLINE", "HF_HUB_OFFLINE")


def cache_directory() -> Path:
    """The cache folder: `TAMIS_CACHE` if set, otherwise the user's cache folder of the platform.

    The folder is not created here.
    """
    if chosen := os.environ.get("TAMIS_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("tamis", appauthor=False)


def offline_switch() -> str | None:
    """The environment variable that disables network access (`TAMIS_OFFLINE`, `HF_HUB_OFFLINE`), or
    None if neither is set.
    """
    for name in _OFFLINE_SWITCHES:
        if os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}:
            return name
    return None
