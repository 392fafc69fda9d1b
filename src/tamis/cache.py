"""Where files that were fetched or computed once are kept, and the switch that forbids network
access.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_OFFLINE_SWITCHES = ("TAMIS_OFFLINE", "HF_HUB_OFFLINE")


def cache_directory() -> Path:
    """The folder for everything fetched or computed once: `TAMIS_CACHE`, else the platform's cache
    folder.

    It is not created here.
    """
    if chosen := os.environ.get("TAMIS_CACHE"):
        return Path(chosen).expanduser()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser() / "tamis"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "tamis" / "cache"
    return Path.home() / ".cache" / "tamis"


def offline_switch() -> str | None:
    """The environment variable that forbids network access (`TAMIS_OFFLINE`, `HF_HUB_OFFLINE`), or
    None.
    """
    for name in _OFFLINE_SWITCHES:
        if os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}:
            return name
    return None
