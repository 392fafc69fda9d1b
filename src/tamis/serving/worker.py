"""Threads that wait for work behind the answers: begun once, ended by `close`, woken by a
condition.
"""

from __future__ import annotations

import threading

ASIDE_THREADS = 1
"""Torch threads of what is computed beside verdicts (explanations, out-of-distribution checks,
learning), so that it does not stop them."""


class Worker:
    """The threads' frame; `_work` is the whole of what each does, and ends once `_closing` is
    set.
    """

    def __init__(self, name: str, count: int = 1) -> None:
        """`name` of the threads; daemons, so that they never keep a process alive."""
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
        """Tell the threads to end and wait until they have."""
        with self.changed:
            self._closing = True
            self.changed.notify_all()
        for thread in self.threads:
            if thread.ident is not None:
                thread.join()

    def _work(self) -> None:
        raise NotImplementedError
