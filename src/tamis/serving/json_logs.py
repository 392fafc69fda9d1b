"""Structured logs: one JSON object a line, without texts. A reader that does not keep up costs
lines, never answers.
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
"""Lines that wait to be written; those beyond are dropped and counted."""
WRITE_EVERY_S = 0.1
"""Seconds between two writes: one a request would make the batcher and the answers wait for each
other."""


def event(name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log something that happened. `fields` must hold no text of a user, no key and no path."""
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, name, extra={"fields": fields})


def failure(error: BaseException) -> dict[str, Any]:
    """An error as fields: its type and where it arose. Its message is left out: it may repeat a
    text.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__name__,
        "at": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-4:]],
    }


class Lines(logging.Handler):
    """Writes records as JSON lines, from a thread of its own, all that came within a moment at
    once.
    """

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
        """Hand a record to the thread."""
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
        """Write what waits, for a second at the most."""
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
                pass  # whoever read the log is gone


def write_to(stream: TextIO) -> Lines:
    """Write this server's events and uvicorn's warnings to a stream; close the handler that is
    returned to stop.
    """
    handler = Lines(stream)
    for name, level in (("tamis.serving", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    return handler
