"""Versions of Python, the system and the libraries that affect the results."""

from __future__ import annotations

import platform
from importlib import metadata

_NAMES = ("tamis", "torch", "numpy", "scikit-learn", "tokenizers", "safetensors")


def versions() -> dict[str, str]:
    """Return the versions by name; `not installed` where a package has none."""
    found: dict[str, str] = {"python": platform.python_version(), "system": platform.platform()}
    for name in _NAMES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
