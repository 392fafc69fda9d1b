"""What a server takes on: sizes, counts and times, each with its unit. Beyond them a request is
refused, never cut.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from tamis.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    Raises:
        ConfigError: a bound is not above zero.
    """

    body_bytes: int = 2 * 2**20
    """Bytes of one body."""
    texts: int = 1_000
    """Texts, or items of feedback, in one request."""
    text_chars: int = 100_000
    """Characters of one text."""
    queue_requests: int = 512
    """Requests that wait to be judged."""
    wait_s: float = 10.0
    """Seconds that others' texts may stand before a request; one that would wait longer is refused
    at once."""
    explanations: int = 16
    """Requests for explanations that are taken on at a time."""
    header_s: float = 15.0
    """Seconds for a request's head to come in."""
    body_s: float = 30.0
    """Seconds for a body to come in."""
    read_s: float = 60.0
    """Seconds for a client to take an answer."""
    stop_s: float = 30.0
    """Seconds that a stop waits for what was accepted."""
    held_bytes: int = 64 * 2**20
    """Bytes of all bodies that are coming in at a time."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        wrong = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if not getattr(self, field.name) > 0
        ]
        if wrong:
            raise ConfigError(f"limits must be above 0; got {', '.join(wrong)}")
