"""Background threads: started once, ended by `close`, woken by a condition."""

from __future__ import annotations

import sys
import threading

ASIDE_THREADS = 1
"""Torch threads for work beside predictions (explanations, out-of-distribution checks, learning),
so that it does not slow them down much."""


def use_aside_threads() -> None:
    """Give the calling thread `ASIDE_THREADS` torch threads; nothing if no model uses torch."""
    if "torch" in sys.modules:
        from tamis.compute.parallel import own_threads

        own_threads(ASIDE_THREADS)


class Worker:
    """Base of the background threads; each runs `_work`, which returns once `_closing` is set."""

    def __init__(self, name: str, count: int = 1) -> None:
        """Create `count` threads named `name`; daemons, which never keep the process alive."""
        self.changed = threading.Condition()
        self._closing = False
        self.threads = [
            threading.Thread(target=self._work, name=name, daemon=True) for _ in range(count)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Signal the threads to end and wait for them."""
        with self.changed:
            self._closing = True
            self.changed.notify_all()
        for thread in self.threads:
            if thread.ident is not None:
                thread.join()

    def _work(self) -> None:
        raise NotImplementedError
