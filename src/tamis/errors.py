"""The errors of tamis. The library raises them; only the command line turns them into exit codes.

    TamisError                  base class of all errors below
    ├── ConfigError             invalid setting, option or argument (also a ValueError)
    │   └── MissingExtraError   an optional dependency is not installed; the message contains the
    │                           command that installs it
    ├── DataError               invalid table, row, label or text (also a ValueError)
    ├── CheckpointError         a backbone or model folder is missing, truncated, modified or has
    │                           another shape
    ├── DownloadError           a file could not be downloaded, or has an unexpected content
    ├── UploadError             a model could not be uploaded
    ├── RunError                a run folder cannot be used: it is finished, different, locked or
    │                           unfinished
    ├── DistributedError        a process of a training on several processes failed or ended
    └── NotFittedError          predict was called before fit (also scikit-learn's NotFittedError,
                                a ValueError and an AttributeError)

Each message says what was expected, what was found, where, and what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any


class TamisError(Exception):
    """Base class of all errors of tamis."""


class ConfigError(TamisError, ValueError):
    """A setting, an option or an argument is invalid."""


class MissingExtraError(ConfigError):
    """A required optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """`package` is missing; `extra` installs it; `purpose` needs it."""
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; run: "
            f"{install_command(extra)}"
        )
        self.package = package
        self.extra = extra


def install_command(extra: str) -> str:
    """Return the command that adds an extra to tamis in the way in which tamis was installed: from
    an index, from a folder, or from a checkout that is used where it is.
    """
    import json
    from importlib import metadata

    try:
        origin = json.loads(metadata.distribution("tamis").read_text("direct_url.json") or "{}")
        address = str(origin.get("url", ""))
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        address = ""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "src" / "tamis" / "errors.py").is_file():
        return f'pip install -e "{_shown(checkout)}[{extra}]"'
    if address.startswith("file://"):
        from urllib.request import url2pathname

        return (
            f'pip install "{_shown(Path(url2pathname(address.removeprefix("file://"))))}[{extra}]"'
        )
    return f'pip install "tamis[{extra}]"'


def _shown(folder: Path) -> str:
    """Return a folder as a path from the working directory, where that is shorter."""
    return "." if folder == Path.cwd() else str(folder)


class DataError(TamisError, ValueError):
    """A table, a row, a label or a text is invalid."""


class CheckpointError(TamisError):
    """A backbone or model folder is missing, truncated, modified or has another shape."""


class DownloadError(TamisError):
    """A file could not be downloaded, or has an unexpected content."""


class UploadError(TamisError):
    """A model could not be uploaded."""


class RunError(TamisError):
    """A run folder cannot be used: it is finished, different, locked or unfinished."""


class DistributedError(TamisError):
    """A process of a training on several processes failed or ended."""


def told_error(name: str, message: str) -> TamisError:
    """Return the error that another process told of, by the name of its class and its message; a
    `TamisError` if no class has this name.
    """
    found = globals().get(name)
    kind = found if isinstance(found, type) and issubclass(found, TamisError) else TamisError
    error = kind.__new__(kind)  # some constructors have other arguments
    error.args = (message,)
    return error


if TYPE_CHECKING:

    class NotFittedError(TamisError, ValueError, AttributeError):
        """A method that needs a fitted classifier was called before `fit`. It is a subclass of
        `sklearn.exceptions.NotFittedError`, too.
        """


def __getattr__(name: str) -> Any:
    """Make `NotFittedError` when it is first asked for: its base class needs scikit-learn, whose
    import takes longer than everything that `import tamis` does.
    """
    if name != "NotFittedError":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sklearn.exceptions import NotFittedError as SklearnNotFittedError

    # Looked up again: another thread may have been faster, and there is to be one class.
    return globals().setdefault(
        name,
        type(
            name,
            (TamisError, SklearnNotFittedError),
            {
                "__module__": __name__,
                "__doc__": "A method that needs a fitted classifier was called before `fit`.",
            },
        ),
    )
