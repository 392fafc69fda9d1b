"""Console output: messages on stderr, and what the terminal can show."""

from __future__ import annotations

import shutil
import sys


def say(sentence: str) -> None:
    """Print a message to stderr."""
    print(sentence, file=sys.stderr, flush=True)


def terminal_width() -> int | None:
    """Return the columns of the terminal that shows stdout (COLUMNS takes precedence); None if
    stdout is a file or a pipe.
    """
    if not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def say_what_is_read(what: str) -> None:
    """Say that standard input is read, if it is a terminal: nothing else shows that a command
    waits.
    """
    if sys.stdin.isatty():
        end = "Ctrl-Z and Enter" if sys.platform == "win32" else "Ctrl-D"
        say(f"Reading {what} from the terminal; finish with {end} at the start of a line.")
