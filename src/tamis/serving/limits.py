"""The limits of a server: sizes, counts and times, each with its unit. A request beyond a limit is
refused, never truncated.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from tamis.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Limits of one server.

    Raises:
        ConfigError: a limit is not above zero.
    """

    body_bytes: int = 2 * 2**20
    """Bytes of one request body."""
    texts: int = 1_000
    """Texts, or items of feedback, in one request."""
    text_chars: int = 100_000
    """Characters of one text."""
    queue_requests: int = 512
    """Prediction requests that wait."""
    wait_s: float = 10.0
    """Most seconds that the texts of other requests may delay a request; one that would wait longer
    is refused at once."""
    explanations: int = 16
    """Explanation requests that are accepted at a time."""
    header_s: float = 15.0
    """Seconds to receive the head of a request."""
    body_s: float = 30.0
    """Seconds to receive a body."""
    read_s: float = 60.0
    """Seconds for a client to receive an answer."""
    stop_s: float = 30.0
    """Seconds that a stopping server waits for accepted requests."""
    held_bytes: int = 64 * 2**20
    """Bytes of all bodies that are received at a time."""

    def __post_init__(self) -> None:
        """Check the limits."""
        wrong = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if not getattr(self, field.name) > 0
        ]
        if wrong:
            raise ConfigError(f"limits: expected numbers above 0, got {', '.join(wrong)}")
