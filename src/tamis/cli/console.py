"""Console output: messages on stderr."""

from __future__ import annotations

import sys


def say(sentence: str) -> None:
    """Print a message to stderr."""
    print(sentence, file=sys.stderr, flush=True)
