"""Structured logs: one JSON object per line, without texts. If the log reader is too slow, lines
are dropped and answers are not delayed.
"""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections import deque
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = logging.getLogger("tamis.serving")
MOST_LINES = 10_000
"""Lines that wait to be written; further lines are dropped and counted."""
WRITE_EVERY_S = 0.1
"""Seconds between two writes: one write per request would delay the batcher and the answers."""


def event(name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event. `fields` must not contain a user's text, a key or a path."""
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, name, extra={"fields": fields})


def failure(error: BaseException) -> dict[str, Any]:
    """Return an error as log fields: its type and its place in the code.

    The message is left out, because it may contain a text.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__name__,
        "at": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-4:]],
    }


class Lines(logging.Handler):
    """Writes records as JSON lines from a background thread, several at once."""

    def __init__(self, stream: TextIO) -> None:
        """Start the thread."""
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record to the thread."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": time,
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            entry |= failure(record.exc_info[1])
        if len(self._lines) < MOST_LINES:
            self._lines.append(json.dumps(entry, ensure_ascii=False, default=str))
        else:
            self._dropped += 1

    def close(self) -> None:
        """Write the waiting lines; waits at most a second."""
        self._end.set()
        self._thread.join(timeout=1.0)
        super().close()

    def _work(self) -> None:
        while not self._end.wait(WRITE_EVERY_S):
            self._write()
        self._write()

    def _write(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lines.append(
                json.dumps({"level": "warning", "event": "lines dropped", "count": dropped})
            )
        if lines:
            try:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # the reader of the log has closed it


def write_to(stream: TextIO) -> Lines:
    """Write this server's events and uvicorn's warnings to a stream.

    Close the returned handler to stop.
    """
    handler = Lines(stream)
    for name, level in (("tamis.serving", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    return handler
