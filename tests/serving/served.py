"""A served application for tests: a small run, a stand-in for what learns, a client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from tamis.feedback.store import Correction, CorrectionStore, NewCorrection
from tamis.serving.app import create_app
from tamis.serving.model_registry import Models
from tests import runs

URL = "http://127.0.0.1"


@dataclass
class LearningOutcome:
    """What the stand-in says of its learning."""

    learned: bool
    reason: str


@dataclass
class Parrot:
    """Learns by counting: keeps corrections in a real store, and says how many it has taken in."""

    classifier: Any
    """A TextClassifier or an OnnxClassifier."""
    store: CorrectionStore
    model: str
    solves: int = 0
    learnt: frozenset[int] = frozenset()
    before: Callable[[], object] = field(default=lambda: None)
    """Called by every solve."""
    elsewhere: bool = False
    """Whether another process has changed the store."""
    users: list[str] = field(default_factory=list)
    """Whose classifier was asked for."""

    def add(self, items: Sequence[NewCorrection]) -> list[int]:
        return self.store.add(items, model=self.model)

    def learn(self, stop: Callable[[], bool] = lambda: False) -> LearningOutcome:
        self.before()
        self.solves += 1
        self.learnt = frozenset(item.id for item in self.items())
        return LearningOutcome(True, f"learnt {len(self.items())} corrections")

    def remove(self, id: int) -> bool:
        return self.store.remove(id)

    def remove_all(self, user: str | None = None) -> int:
        return self.store.remove_all(model=self.model, user=user)

    def items(self) -> list[Correction]:
        return self.store.all(model=self.model)

    def ids_in_effect(self) -> set[int]:
        return set(self.learnt)

    def changed(self) -> bool:
        return self.elsewhere

    def pending(self) -> int:
        return sum(item.id not in self.learnt for item in self.items())

    def classifier_for(self, user: str = "") -> Any:
        self.users.append(user)
        return self.classifier


def models(store: Path, named: Sequence[tuple[str, Path]] = (), **options: Any) -> Models:
    """Models that learn as parrots do; the small finished run as `small` by default."""
    kept = CorrectionStore(store)
    named = named or [("small", runs.finished_run())]
    return Models(
        named,
        lambda classifier, run, name: Parrot(classifier, kept, name),
        compute={"threads": 1},
        **options,
    )


@contextlib.contextmanager
def client(served: Models, **options: Any) -> Iterator[TestClient]:
    """A client of a running application."""
    with TestClient(create_app(served, **options), base_url=URL, follow_redirects=False) as found:
        yield found
