"""The folder of the results: what may be written where, and what an interrupted run has finished.

OUT/  tp2.html  loss.png  accuracy.png  recall.png
      tp2.json (all results; written last: its presence means finished)
      checkpoint/ (only until the run is finished: request.json, and a file per finished training)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import RunError, TamisError
from tamis.files import holder, is_temporary, locked, write_text

RESULT, PAGE = "tp2.json", "tp2.html"
CONTENT = (PAGE, "loss.png", "accuracy.png", "recall.png", RESULT)
"""What a run writes; nothing else in the folder is ever changed."""
EXPERIMENT = "tp2"
_REQUEST = "request.json"


@dataclass(frozen=True)
class OutputFolder:
    """An opened folder, locked for this process."""

    path: Path

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the stored result `name`; make and store it if there is none."""
        slug = "".join(c if c.isalnum() else "-" for c in name)
        file = self.path / "checkpoint" / f"{slug}.json"
        # A file is complete or absent: it was renamed into its place.
        if file.is_file():
            stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return stored
        made = make()
        write_text(file, json.dumps(made, ensure_ascii=False))
        return made

    def finish(self, results: dict[str, Any]) -> None:
        """Write the results; the run is finished then, and its checkpoint is deleted."""
        text = json.dumps({"experiment": EXPERIMENT, **results}, indent=2, ensure_ascii=False)
        write_text(self.path / RESULT, text + "\n")
        for file in (self.path / "checkpoint").iterdir():
            if file.name != "lock":
                file.unlink()


def refuse_used(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a folder that `opened` would refuse whatever the request is; nothing is written. To be
    called before anything that takes long.

    Raises:
        RunError: see `opened`.
    """
    ours = path.is_dir() and (
        not _names(path)
        or _experiment(path / RESULT) == EXPERIMENT
        or _experiment(path / "checkpoint" / _REQUEST) == EXPERIMENT
        # A run that has just started, or was killed before it wrote anything.
        or (_names(path) == {"checkpoint"} and _names(path / "checkpoint") <= {"lock"})
    )
    if path.exists() and not ours:
        raise RunError(
            f"{path} exists and has no results of tp2; choose another folder with --out (its "
            "content was not changed)"
        )
    if not overwrite and _experiment(path / RESULT) == EXPERIMENT:
        raise RunError(
            f"{path} contains finished results; choose another folder with --out, or pass "
            "--overwrite to replace them"
        )


@contextmanager
def opened(
    path: Path, request: dict[str, Any], *, overwrite: bool = False
) -> Iterator[OutputFolder]:
    """Open a folder for the results, either new or to resume an interrupted run.

    Args:
        path: is created if it does not exist.
        request: recipe and data. An interrupted run is resumed only if they are equal.
        overwrite: replace the results in the folder.

    Raises:
        RunError: another process uses the folder, it has finished results or an interrupted run
            with another request, or it has files that are not of this experiment.
    """
    request = {"experiment": EXPERIMENT, **json.loads(json.dumps(request))}
    refuse_used(path, overwrite=overwrite)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        (path / "checkpoint").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{path} cannot be created ({error.strerror}); choose another folder with --out"
        ) from error
    try:
        lock = path / "checkpoint" / "lock"
        with locked(lock) as mine:
            if not mine:
                raise RunError(
                    f"{path} is in use by {holder(lock)}; wait until it ends, or choose another "
                    "folder with --out"
                )
            # Again: another process may have finished since.
            refuse_used(path, overwrite=overwrite)
            if overwrite:
                _clear(path, request)
            _begin(path, request)
            try:
                yield OutputFolder(path)
            except TamisError:
                if _names(path / "checkpoint") <= {_REQUEST, "lock"}:  # nothing was trained yet
                    (path / "checkpoint" / _REQUEST).unlink(missing_ok=True)
                raise
    finally:
        with suppress(OSError):  # it has finished trainings, or another process writes here
            (path / "checkpoint").rmdir()
            for folder in made:
                folder.rmdir()


def _begin(path: Path, request: dict[str, Any]) -> None:
    file = path / "checkpoint" / _REQUEST
    before = _content(file)
    if before is None:
        write_text(file, json.dumps(request, indent=2, ensure_ascii=False))
    elif before != request:
        differing = [key for key in request if before.get(key) != request[key]]
        raise RunError(
            f"{path} contains an interrupted run that differs from this one in: "
            f"{', '.join(differing)}; choose another folder with --out, or pass --overwrite to "
            "replace it"
        )


def _clear(path: Path, request: dict[str, Any]) -> None:
    """Delete the results. At every moment a file marks the folder as one of this experiment, so
    that it can still be overwritten after a crash.
    """
    file = path / "checkpoint" / _REQUEST
    for old in (path / "checkpoint").iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        elif old.name not in ("lock", _REQUEST):
            old.unlink()
    write_text(file, json.dumps(request, indent=2, ensure_ascii=False))
    for name in CONTENT:
        (path / name).unlink(missing_ok=True)


def _names(path: Path) -> set[str]:
    files = path.iterdir() if path.is_dir() else ()
    return {file.name for file in files if not is_temporary(file)}


def _content(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _experiment(path: Path) -> Any:
    return (_content(path) or {}).get("experiment")
