"""The models of a server by name; a model is reloaded atomically when its folder is replaced."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tamis.classifier.model_folder import ADAPTER_FILES, META, find_model
from tamis.errors import ConfigError, TamisError
from tamis.export.folder import MODEL, TOKENIZER, WEIGHTS, is_exported
from tamis.export.loading import load_classifier
from tamis.feedback.store import Correction, NewCorrection, model_name
from tamis.serving.errors import Refusal, shown

if TYPE_CHECKING:
    from tamis.export.loading import Classifier

LOOK_EVERY_S = 1.0
"""Seconds between two checks of the folders; a folder must be unchanged between two checks before
it is loaded."""
_FILES = ("config.json", "model.safetensors", "tokenizer.json", *ADAPTER_FILES, META)
_EXPORTED_FILES = (MODEL, WEIGHTS, TOKENIZER, META)

Signature = tuple[tuple[int, int, int] | None, ...]


class LearningOutcome(Protocol):
    """The result of a refit."""

    @property
    def learned(self) -> bool:
        """Whether the corrections are in effect now."""
        ...

    @property
    def reason(self) -> str:
        """A sentence that gives the reason."""
        ...


class FeedbackModel(Protocol):
    """A model that learns from corrections (see `tamis.feedback.learning`)."""

    def add(self, items: Sequence[NewCorrection]) -> list[int]:
        """Store corrections; they are on disk when this returns."""
        ...

    def learn(self, stop: Callable[[], bool] = ...) -> LearningOutcome:
        """Refit with all stored corrections; stops early if `stop` returns True."""
        ...

    def remove(self, id: int) -> bool:
        """Undo a correction; returns whether it existed."""
        ...

    def remove_all(self, user: str | None = None) -> int:
        """Undo all corrections, or all of a user; returns their number."""
        ...

    def items(self) -> list[Correction]:
        """Return all stored corrections."""
        ...

    def ids_in_effect(self) -> set[int]:
        """Return the ids of the corrections that count in the answers."""
        ...

    def changed(self) -> bool:
        """Whether another process has changed the store since the last refit."""
        ...

    def pending(self) -> int:
        """Number of corrections that are not in effect: not learned yet, or held back."""
        ...

    def classifier_for(self, user: str = "") -> Classifier:
        """Return the classifier that answers a user's requests now."""
        ...


MakeLearning = Callable[["Classifier", Path, str], FeedbackModel]
"""Makes a learning model from a classifier, its run and its name."""


@dataclass(frozen=True)
class Loaded:
    """A model as loaded from disk, with what it has learned since."""

    classifier: Classifier
    learning: FeedbackModel
    signature: Signature
    at: str
    """UTC, ISO 8601"""


class Served:
    """One model by name. `loaded` is replaced as a whole, so a request can continue with the object
    it has.
    """

    def __init__(self, name: str, run: Path, load: Callable[[str, Path], Loaded]) -> None:
        """Load the model.

        Raises:
            RunError, CheckpointError: see `load_classifier`.
        """
        self.name, self.run = name, run
        self.stale = False
        self.outcome: LearningOutcome | None = None
        self._load = load
        self.loaded = load(name, run)
        self._seen = self._refused = self.loaded.signature

    @property
    def learning(self) -> FeedbackModel:
        """The current learning model."""
        return self.loaded.learning

    def classifier(self, user: str = "") -> Classifier:
        """Return the current classifier for a user's requests."""
        return self.loaded.learning.classifier_for(user)

    @property
    def labels(self) -> list[str]:
        """Labels as strings, in the order of the probabilities."""
        return [str(label) for label in self.loaded.classifier.classes_]

    def learn(self, stop: Callable[[], bool] = lambda: False) -> LearningOutcome:
        """Refit with the corrections and store the result."""
        self.outcome = self.loaded.learning.learn(stop)
        return self.outcome

    def corrected_elsewhere(self) -> bool:
        """Whether another process has changed this model's corrections."""
        try:
            return self.learning.changed()
        except sqlite3.Error:  # locked, for example: the next look will tell
            return False

    def look(self) -> Exception | bool:
        """Reload the folder if it was replaced.

        Returns True if it was reloaded, False if not, or the error if it cannot be loaded.
        """
        before, self._seen = self._seen, signature_of(self.run)
        if self._seen == self.loaded.signature:
            self.stale = False
        if self._seen in (self.loaded.signature, self._refused) or self._seen != before:
            return False
        try:
            fresh = self._load(self.name, self.run)
            self.outcome = _learnt(fresh.learning)
        except (
            Exception
        ) as error:  # on any error of the new model, the previous one continues to answer
            self._refused, self.stale = self._seen, True
            return error
        self.loaded, self.stale = fresh, False
        return True


class Models:
    """All models of a server; the first is the default."""

    def __init__(
        self,
        runs: Sequence[tuple[str, Path]],
        learning: MakeLearning,
        *,
        compute: Mapping[str, Any] | None = None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Load the models and what they learned before.

        Args:
            runs: names and folders.
            learning: makes the learning model of a classifier.
            compute: `device`, `threads` and `dtype`, as for `load_classifier`.
            look_every_s: seconds between two checks of the folders.

        Raises:
            ConfigError: no model, or two models with one name.
            RunError, CheckpointError: a model cannot be loaded.
        """
        names = [name for name, _ in runs]
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"expected models with different names, got {names}; choose names: tamis serve "
                "first=RUN second=RUN"
            )

        def load(name: str, run: Path) -> Loaded:
            signature = signature_of(run)
            classifier = load_classifier(run, **(compute or {}))
            classifier.predictor_.expect_many_calls()
            return Loaded(
                classifier,
                learning(classifier, run, name),
                signature,
                datetime.now(UTC).isoformat(timespec="seconds"),
            )

        self._served = {name: Served(name, run, load) for name, run in runs}
        for served in self:
            served.outcome = _learnt(served.learning)
        self._look_every_s = look_every_s
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[Served]:
        """Iterate over the models, the default first."""
        return iter(self._served.values())

    def __len__(self) -> int:
        """Return the number of models."""
        return len(self._served)

    def named(self, name: str | None) -> Served:
        """Return the model with that name, or the default for None.

        Raises:
            Refusal: 404, there is no such model.
        """
        if name is None:
            return next(iter(self))
        if name not in self._served:
            raise Refusal(
                404, f"unknown model {shown(name)}; known: {', '.join(self._served)}", field="model"
            )
        return self._served[name]

    def watch(
        self,
        replaced: Callable[[Served, Exception | None], None],
        corrected: Callable[[Served], None],
    ) -> None:
        """Start checking the folders and the stores.

        `replaced` is called for every reload or failure, `corrected` where another process (`tamis
        learn`) has changed the corrections of a model.
        """

        def look() -> None:
            while not self._end.wait(self._look_every_s):
                for served in self:
                    found = served.look()
                    if found:
                        replaced(served, found if isinstance(found, Exception) else None)
                    elif served.corrected_elsewhere():
                        corrected(served)

        self._end.clear()
        self._thread = threading.Thread(target=look, name="reload", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop checking the folders."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()


def _learnt(learning: FeedbackModel) -> LearningOutcome | None:
    return learning.learn() if learning.items() else None


def signature_of(run: Path) -> Signature:
    """Return inode, size and time of each model file; None for a missing file."""
    exported = is_exported(run)
    names = _EXPORTED_FILES if exported else _FILES
    try:
        folder = run if exported else find_model(run)
    except TamisError:
        return (None,) * len(names)
    found: list[tuple[int, int, int] | None] = []
    for name in names:
        try:
            stat = (folder / name).stat()
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)


def named_runs(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    """Parse `RUN` or `NAME=RUN` into name and folder; the default name is the store's."""
    found = []
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if equals and name and folder and not Path(argument).exists():
            found.append((name, Path(folder)))
            continue
        found.append((model_name(argument), Path(argument)))
    return found
