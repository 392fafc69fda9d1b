"""A run folder: locking, whether it is finished, and which recipe and data it belongs to.

RUN/  model/  report.html  report.json (written last)
      predictions.jsonl  history.jsonl  recipe.toml (resolved)  plots/
      features.safetensors (features of the training rows)   tensorboard/ (if asked for)
      checkpoint/ (only until the run is finished: asked.json, recipe and data as requested;
                   recipe.toml, resolved; state of the training loop; next/, a model being written)

A model is written to checkpoint/next and then moved into RUN, so that RUN has the files of one
model at any time. If the process is killed between two moves, the next one moves the rest; until
then, RUN has a whole model, and its report may be of the one before.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.classifier.training_features import PREDICTIONS
from tamis.config import Recipe, read_recipe
from tamis.errors import ConfigError, RunError, TamisError
from tamis.files import exchange, holder, is_temporary, locked, replaced, write_text

CONTENT = (
    *(
        "model",
        "plots",
        "checkpoint",
        "report.html",
        "report.json",
        PREDICTIONS,
        "history.jsonl",
        "recipe.toml",
        "tensorboard",
    ),
    "features.safetensors",
)

ELSEWHERE = "choose another folder (-o DIR; in Python: out)"
OVERWRITE = "--overwrite (in Python: overwrite=True)"
"""What to do about a folder, for the command line and for `tamis.train`."""
REPORT, NEXT, OLD = "report.json", "next", "old"


@dataclass(frozen=True)
class RunFolder:
    """An opened run folder, locked for this process."""

    path: Path
    earlier: Recipe | None
    """The resolved recipe of the run that is resumed; None for a new run."""

    @property
    def checkpoint(self) -> Path:
        """The folder with the state of the training loop."""
        return self.path / "checkpoint"

    @property
    def has_model(self) -> bool:
        """Whether the folder has a model already: a quick one, whose tuning goes on."""
        return (self.path / REPORT).is_file()

    def keep_recipe(self, resolved: Recipe) -> None:
        """Keep the resolved recipe for a resumed training."""
        write_text(self.checkpoint / "recipe.toml", resolved.to_toml())

    @contextmanager
    def replaced(self) -> Iterator[RunFolder]:
        """Yield a folder to write all files of a model to. If the block succeeds, they take the
        place of those in the run; if it fails, the run stays as it is.
        """
        staged = self.checkpoint / NEXT
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        try:
            yield RunFolder(staged, None)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        _move_staged(self.path)

    def write_lines(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write a JSONL file atomically."""
        with replaced(self.path / name) as beside, beside.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file atomically."""
        write_text(self.path / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def opened(path: Path, asked: dict[str, Any], *, overwrite: bool = False) -> Iterator[RunFolder]:
    """Open a run folder for writing, either new or to resume a run.

    Args:
        path: is created if it does not exist.
        asked: requested recipe and fingerprints of the data. A run is resumed only if they are
            equal.
        overwrite: delete the run in the folder.

    Raises:
        RunError: another process uses the folder, it contains a finished run or a run with another
            recipe or other data, or it is not a run folder.
    """
    foreign = path.exists() and (not path.is_dir() or (any(path.iterdir()) and not _is_run(path)))
    if foreign:
        raise RunError(
            f"{path} exists and is not a run folder; {ELSEWHERE}. Its content was not changed"
        )
    made = not path.exists()
    try:
        (path / "checkpoint").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be created ({error.strerror}); {ELSEWHERE}") from error
    learned_nothing = False
    try:
        lock = path / "checkpoint" / "lock"
        with locked(lock) as mine:
            if not mine:
                raise RunError(
                    f"{path} is in use by {holder(lock)}; wait until it ends, or {ELSEWHERE}"
                )
            if overwrite:
                _write_asked(path, asked)  # first: it marks the folder as a run
                _clear(path)
            else:
                _move_staged(path)
                if _finished(path):  # killed when its last model was complete
                    _empty(path / "checkpoint", kept=("lock",))
            folder = RunFolder(path, _earlier(path, asked))
            try:
                yield folder
            except TamisError:
                # Refused because of a setting or a row: leave the disk as it was before.
                if learned_nothing := _learned_nothing(path):
                    for name in ("recipe.toml", *(f"checkpoint/{name}" for name in _MARKS)):
                        (path / name).unlink(missing_ok=True)
                raise
            if _finished(path):
                _empty(path / "checkpoint", kept=("lock",))
    finally:
        with suppress(OSError):  # not empty, or another process has just begun to write here
            (path / "checkpoint").rmdir()
            if made and learned_nothing:
                path.rmdir()


def _is_run(path: Path) -> bool:
    written = (path / REPORT).is_file() and (path / "recipe.toml").is_file()
    checkpoint = path / "checkpoint"
    if written or (checkpoint / "asked.json").is_file():
        return True
    # A run that has just started, or was killed before it wrote anything.
    return (
        list(path.iterdir()) == [checkpoint]
        and checkpoint.is_dir()
        and all(file.name == "lock" or is_temporary(file) for file in checkpoint.iterdir())
    )


def _finished(path: Path) -> bool:
    """Whether a run has its last model: not a quick one whose tuning was interrupted."""
    if not (path / REPORT).is_file():
        return False
    if not (path / "checkpoint" / "asked.json").is_file():
        return True
    try:
        training = json.loads((path / REPORT).read_text(encoding="utf-8"))["training"]
        return bool(training["finished"])
    except (ValueError, KeyError, TypeError):
        return True


def _move_staged(path: Path) -> None:
    """Move the files of a model that was written completely into the run, its report last. Of an
    incomplete one nothing is used.
    """
    checkpoint = path / "checkpoint"
    staged, old = checkpoint / NEXT, checkpoint / OLD
    shutil.rmtree(old, ignore_errors=True)
    if (staged / REPORT).is_file():
        old.mkdir()
        for name in sorted(CONTENT, key=lambda name: name == REPORT):
            new, target, aside = staged / name, path / name, old / name
            if target.is_dir():
                _move_folder(new, target, aside)
            elif new.exists():
                new.replace(target)
                if target.is_dir():
                    (target / _NEW).unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(staged, ignore_errors=True)


def _move_folder(new: Path, target: Path, aside: Path) -> None:
    """Move a folder to the place of another, which is there at any time if the file system can
    exchange folders. After a kill, a file in the new folder tells whether that was done.
    """
    if not (target / _NEW).exists() and new.exists():
        (new / _NEW).touch()
        if not exchange(new, target):
            target.rename(aside)
            new.rename(target)
    if new.exists():
        new.rename(aside)
    (target / _NEW).unlink(missing_ok=True)


_NEW = ".new"
_MARKS = ("asked.json", "recipe.toml", "progress.json")
"""Files of a checkpoint that contain nothing learned."""


def _learned_nothing(path: Path) -> bool:
    inside = {file.name for file in (path / "checkpoint").iterdir() if not is_temporary(file)}
    return {file.name for file in path.iterdir()} <= {"checkpoint", "recipe.toml"} and inside <= {
        *_MARKS,
        "lock",
    }


def _write_asked(path: Path, asked: dict[str, Any]) -> None:
    write_text(path / "checkpoint" / "asked.json", json.dumps(asked, indent=2, ensure_ascii=False))


def _earlier(path: Path, asked: dict[str, Any]) -> Recipe | None:
    """Check that a run may be resumed, and return its recipe; None for a new run."""
    marks = path / "checkpoint" / "asked.json"
    if _finished(path):
        raise RunError(
            f"{path} contains a finished run; {ELSEWHERE}, or replace it with {OVERWRITE}"
        )
    try:
        before = json.loads(marks.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _write_asked(path, asked)
        return None
    except ValueError:
        before = None
    if before != json.loads(json.dumps(asked)):
        differing = [
            key
            for key in asked
            if not isinstance(before, dict) or before.get(key) != json.loads(json.dumps(asked[key]))
        ]
        raise RunError(
            f"{path} contains an unfinished run that differs from this one in: "
            f"{', '.join(differing)}; {ELSEWHERE}, or replace it with {OVERWRITE}"
        )
    try:
        return read_recipe(path / "checkpoint" / "recipe.toml")
    except ConfigError:
        return None


def _clear(path: Path) -> None:
    """Delete the content of a run. The files that mark the folder as a run are kept, so that it can
    still be overwritten after a crash.
    """
    (path / REPORT).unlink(missing_ok=True)
    for name in CONTENT:
        target = path / name
        if name == "checkpoint":
            _empty(target, kept=("lock", "asked.json"))
        elif target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


def _empty(folder: Path, *, kept: tuple[str, ...]) -> None:
    """Delete what is in a folder, except some files."""
    for file in folder.iterdir():
        if file.is_dir():  # such as the state of a cross-validation fold
            shutil.rmtree(file)
        elif file.name not in kept and not is_temporary(file):  # a lock may be hidden
            file.unlink()


def slug(text: str) -> str:
    """Convert a text to a folder name."""
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in text).strip("-.") or "run"
