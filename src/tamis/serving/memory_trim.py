"""Freed heap goes back to the system now and then: each thread that computes keeps its own, and
what fragments it only grows.
"""

from __future__ import annotations

import time

from tamis.compute.memory import release_memory
from tamis.serving.worker import Worker

EVERY_S = 10.0
SHARE = 0.01
"""Share of the time that this may take."""


class Trim(Worker):
    """The thread."""

    def __init__(self, *, every_s: float = EVERY_S) -> None:
        """`every_s`: seconds between two times."""
        super().__init__("trim")
        self._rest_s = every_s

    def _work(self) -> None:
        rest_s = self._rest_s
        while True:
            with self.changed:
                if self.changed.wait_for(lambda: self._closing, timeout=rest_s):
                    return
            begun = time.monotonic()
            release_memory()
            rest_s = max(self._rest_s, (time.monotonic() - begun) / SHARE)
