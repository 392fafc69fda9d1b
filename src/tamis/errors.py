"""The errors tamis raises. The library raises them, only the command line turns them into exit
codes.

    TamisError                  anything tamis reports on purpose; catch this one to catch them all
    ├── ConfigError             a setting, an option or an argument (also a ValueError)
    │   └── MissingExtraError   an optional dependency is not installed; the message holds the
                                install line
    ├── DataError               a table, a row, a label or a text (also a ValueError)
    ├── CheckpointError         a backbone or a model folder: missing, truncated, altered or of
                                another shape
    ├── DownloadError           a file could not be fetched, or is not the file that was expected
    ├── RunError                a run folder that cannot be used: finished, different, locked or
                                unfinished
    └── NotFittedError          predict before fit (also a ValueError and an AttributeError, as in
                                scikit-learn)

Every message says what was expected, what came, where, and what to do.
"""

from __future__ import annotations


class TamisError(Exception):
    """Base class of every error that tamis raises on purpose."""


class ConfigError(TamisError, ValueError):
    """A setting, an option or an argument is wrong."""


class MissingExtraError(ConfigError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Name the missing `package`, the `extra` that brings it and the `purpose` it serves."""
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; run: pip install "
            f"'tamis[{extra}]'"
        )
        self.package = package
        self.extra = extra


class DataError(TamisError, ValueError):
    """A table, a row, a label or a text is wrong."""


class CheckpointError(TamisError):
    """A backbone or a model folder is missing, truncated, altered or of another shape."""


class DownloadError(TamisError):
    """A file could not be fetched, or what came is not the file that was expected."""


class RunError(TamisError):
    """A run folder cannot be used: it is finished, different, locked or unfinished."""


class NotFittedError(TamisError, ValueError, AttributeError):
    """A classifier was asked for a verdict before it was fitted."""
