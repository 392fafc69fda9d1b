"""A thread that waits for work behind the answers: begun once, ended by `close`, woken by a condition."""

from __future__ import annotations

import threading


class Worker:
    """The thread's frame; `_work` is the whole of what it does, and ends once `_closing` is set."""

    def __init__(self, name: str) -> None:
        """`name` of the thread; a daemon, so that it never keeps a process alive."""
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Tell the thread to end and wait until it has."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        raise NotImplementedError
