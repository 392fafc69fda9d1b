"""The surroundings of a workflow: messages, seconds per phase, versions of the libraries."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata

Say = Callable[[str], None]

_VERSIONS = ("tamis", "torch", "numpy", "scikit-learn", "tokenizers", "safetensors")


def silent(sentence: str) -> None:
    """Discard the message."""


@dataclass
class Clock:
    """Seconds per phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the time of a `with` block and add it to `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


def versions() -> dict[str, str]:
    """Versions of Python, the system and the libraries that affect the results."""
    found: dict[str, str] = {"python": platform.python_version(), "system": platform.platform()}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
