"""Regularly returns freed heap memory to the system: each computing thread has its own heap, and
fragmentation only grows.
"""

from __future__ import annotations

import time

from tamis.compute.memory import release_memory
from tamis.serving.worker import Worker

EVERY_S = 10.0
SHARE = 0.01
"""Most share of the time that this may take."""


class Trim(Worker):
    """The trimming thread."""

    def __init__(self, *, every_s: float = EVERY_S) -> None:
        """Create the thread; `every_s` is the number of seconds between two runs."""
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
