"""The models of a server by name: loaded once, loaded anew when their folder is replaced on disk,
never half of each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tamis.classifier.saved_model import META, find_model
from tamis.classifier.text_classifier import TextClassifier
from tamis.errors import ConfigError, TamisError
from tamis.feedback.learning import model_name
from tamis.feedback.store import Correction, NewCorrection
from tamis.serving.errors import Refusal, shown

LOOK_EVERY_S = 1.0
"""Seconds between two looks at the folders; a folder must look the same twice before it is
loaded."""
_FILES = ("config.json", "model.safetensors", "tokenizer.json", META)

Signature = tuple[tuple[int, int, int] | None, ...]


class LearningOutcome(Protocol):
    """How learning went."""

    @property
    def learned(self) -> bool:
        """Whether the corrections count now."""
        ...

    @property
    def reason(self) -> str:
        """A sentence on why, or why not."""
        ...


class FeedbackModel(Protocol):
    """A model that learns from corrections (`feedback.Learning`)."""

    def add(self, items: Sequence[NewCorrection]) -> list[int]:
        """Keep corrections; they are on the disk when it returns."""
        ...

    def learn(self, stop: Callable[[], bool] = ...) -> LearningOutcome:
        """Take everything that is kept into account, or come to an early end between two solves
        once `stop` says so.
        """
        ...

    def remove(self, id: int) -> bool:
        """Undo one; whether it was there."""
        ...

    def remove_all(self, user: str | None = None) -> int:
        """Undo all, or all of a user; how many there were."""
        ...

    def items(self) -> list[Correction]:
        """Everything that is kept."""
        ...

    def pending(self) -> int:
        """How many are kept and not in effect: not learnt yet, or held back."""
        ...

    def classifier_for(self, user: str = "") -> TextClassifier:
        """What answers that user's requests now."""
        ...


MakeLearning = Callable[[TextClassifier, Path, str], FeedbackModel]
"""From a classifier, its run and its name."""


@dataclass(frozen=True)
class Loaded:
    """A model as it was found on disk, with what it has learnt since."""

    classifier: TextClassifier
    learning: FeedbackModel
    signature: Signature
    at: str
    """UTC, ISO 8601"""


class Served:
    """One model by name. `loaded` is replaced whole; whoever has taken it may go on with it."""

    def __init__(self, name: str, run: Path, load: Callable[[str, Path], Loaded]) -> None:
        """Load it.

        Raises:
            RunError, CheckpointError: as `TextClassifier.load`.
        """
        self.name, self.run = name, run
        self.stale = False
        self.outcome: LearningOutcome | None = None
        self._load = load
        self.loaded = load(name, run)
        self._seen = self._refused = self.loaded.signature

    @property
    def learning(self) -> FeedbackModel:
        """What learns, now."""
        return self.loaded.learning

    def classifier(self, user: str = "") -> TextClassifier:
        """What answers a user's requests, now."""
        return self.loaded.learning.classifier_for(user)

    @property
    def labels(self) -> list[str]:
        """Labels as texts, in the order of the probabilities."""
        return [str(label) for label in self.loaded.classifier.classes_]

    def learn(self, stop: Callable[[], bool] = lambda: False) -> LearningOutcome:
        """Take the corrections into account, and remember how that went."""
        self.outcome = self.loaded.learning.learn(stop)
        return self.outcome

    def look(self) -> Exception | bool:
        """Load the folder anew if it was replaced: True when that is done, the error where it
        cannot be loaded.
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
        ) as error:  # whatever is wrong with the new one, the one before goes on answering
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
        """Load them, with what was learnt before.

        Args:
            runs: names and folders.
            learning: makes what learns for a model.
            compute: `device`, `threads` and `dtype`, as `TextClassifier.load` takes them.
            look_every_s: seconds between two looks at the folders.

        Raises:
            ConfigError: no model, or two of one name.
            RunError, CheckpointError: a model cannot be loaded.
        """
        names = [name for name, _ in runs]
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"expected models of different names, got {names}; give names of your own: "
                "tamis serve first=RUN second=RUN"
            )

        def load(name: str, run: Path) -> Loaded:
            signature = signature_of(run)
            classifier = TextClassifier.load(run, **(compute or {}))
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
        """The models, the default first."""
        return iter(self._served.values())

    def __len__(self) -> int:
        """How many there are."""
        return len(self._served)

    def named(self, name: str | None) -> Served:
        """The model of that name, or the default.

        Raises:
            Refusal: 404, there is none.
        """
        if name is None:
            return next(iter(self))
        if name not in self._served:
            raise Refusal(
                404, f"unknown model {shown(name)}; known: {', '.join(self._served)}", field="model"
            )
        return self._served[name]

    def watch(self, replaced: Callable[[Served, Exception | None], None]) -> None:
        """Look at the folders from now on; `replaced` is told, in the thread that looks, of every
        one loaded anew or refused.
        """

        def look() -> None:
            while not self._end.wait(self._look_every_s):
                for served in self:
                    found = served.look()
                    if found:
                        replaced(served, found if isinstance(found, Exception) else None)

        self._end.clear()
        self._thread = threading.Thread(target=look, name="reload", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()


def _learnt(learning: FeedbackModel) -> LearningOutcome | None:
    return learning.learn() if learning.items() else None


def signature_of(run: Path) -> Signature:
    """What changes when a model's files are replaced: inode, size and time of each; None for one
    that is not there.
    """
    try:
        folder = find_model(run)
    except TamisError:
        return (None,) * len(_FILES)
    found: list[tuple[int, int, int] | None] = []
    for name in _FILES:
        try:
            stat = (folder / name).stat()
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)


def named_runs(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    """`RUN` or `NAME=RUN` -> name and folder; without a name of its own a model is called as in the
    store of corrections.
    """
    found = []
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if equals and name and folder and not Path(argument).exists():
            found.append((name, Path(folder)))
            continue
        found.append((model_name(argument), Path(argument)))
    return found
