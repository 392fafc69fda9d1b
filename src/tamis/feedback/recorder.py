"""Corrections of a model that does not learn: they are stored, and its answers stay the same.

An exported folder has no training rows and a fixed head. The run that it was exported from learns
the stored corrections. A run with learning switched off is such a model, too. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tamis.feedback.store import Correction, CorrectionStore, NewCorrection, with_model_labels

C = TypeVar("C")
EXPORTED = (
    "an exported model does not learn; its corrections are stored for the run that it was exported "
    "from (tamis learn RUN FILE --store STORE)"
)
SWITCHED_OFF = "learning is switched off (--no-feedback); corrections are only stored"


@dataclass(frozen=True)
class NotLearned:
    """The result of a learning step that cannot be made."""

    reason: str
    learned: bool = False


class CorrectionRecorder(Generic[C]):
    """One served model that stores corrections, with the interface of `FeedbackLearner`."""

    def __init__(
        self,
        classifier: C,
        labels: Sequence[str],
        store: CorrectionStore,
        *,
        model: str,
        reason: str = EXPORTED,
    ) -> None:
        """Keep the parts.

        Args:
            classifier: answers all users.
            labels: its labels.
            store: the corrections; several models may share a store.
            model: the model's name in the store.
            reason: why it does not learn.
        """
        self._classifier, self._labels, self._reason = classifier, tuple(labels), reason
        self._store, self._model = store, model

    def add(self, items: Sequence[NewCorrection]) -> list[int]:
        """Store corrections.

        Raises:
            DataError: a label is not one of the model's labels, or a text is not valid Unicode;
                nothing is stored then.
        """
        return self._store.add(with_model_labels(items, self._labels), model=self._model)

    def items(self) -> list[Correction]:
        """Return every correction of this model, sorted by id."""
        return self._store.all(model=self._model)

    def ids_in_effect(self) -> set[int]:
        """Return no ids: none is in effect."""
        return set()

    def pending(self) -> int:
        """Number of corrections: none is in effect."""
        return len(self.items())

    def changed(self) -> bool:
        """Return False: nothing is learned, whatever other processes store."""
        return False

    def classifier_for(self, user: str = "") -> C:
        """Return the classifier that answers a user."""
        return self._classifier

    def learn(self, stop: Callable[[], bool] = lambda: False) -> NotLearned:
        """Learn nothing, and say why."""
        return NotLearned(self._reason)

    def remove(self, id: int) -> bool:
        """Delete a correction; returns whether it existed."""
        return any(item.id == id for item in self.items()) and self._store.remove(id)

    def remove_all(self, user: str | None = None) -> int:
        """Delete all corrections, or those of one user; returns their number."""
        return self._store.remove_all(model=self._model, user=user)
