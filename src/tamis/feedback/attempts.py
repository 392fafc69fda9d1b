"""Refits of the head on stored corrections: features, solve, and the check on held-out rows.

The result is a head, or the reason why it is held back.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import text_keys
from tamis.feedback.guards import worse
from tamis.feedback.history import Steps
from tamis.feedback.refit import Base, Candidate, CorrectionRows, never
from tamis.feedback.store import Correction
from tamis.head.refit import LinearHead

REMEMBERED = 64
"""Results that are kept in memory, so that the same corrections are not solved twice."""


@dataclass(frozen=True)
class RefitResult:
    """The result of one refit."""

    head: LinearHead | None
    """None if the refit is held back"""
    reason: str
    """why it is held back; empty if it is not"""
    figures: dict[str, Any]
    harmful: bool = False
    """held back because of its held-out figures; a subset of the corrections may pass"""

    @property
    def learned(self) -> bool:
        """Whether the head may be used."""
        return self.head is not None


class Attempts:
    """Refits for sets of corrections; the same set always gives the same head, bit for bit."""

    def __init__(self, classifier: TextClassifier, base: Base, steps: Steps) -> None:
        """Use `steps` to store the features of corrections."""
        self._classifier, self._base, self._steps = classifier, base, steps
        self._features: dict[int, NDArray[np.float32]] = {}
        self._results: dict[str, RefitResult] = {}

    def result(
        self, corrections: Sequence[Correction], stop: Callable[[], bool] = never
    ) -> RefitResult:
        """Refit and check; emphasis that worsens held-out figures too much is removed.

        Raises:
            Interrupted: `stop`, called before each solve, returned True.
        """
        mark = mark_of(corrections)
        if mark not in self._results:
            self._results[mark] = self._attempt(corrections, stop)
            for old in list(self._results)[:-REMEMBERED]:
                del self._results[old]
        return self._results[mark]

    def forget(self, ids: set[int]) -> None:
        """Remove everything about these corrections from memory."""
        self._results.clear()
        for id in ids:
            self._features.pop(id, None)

    def _attempt(self, corrections: Sequence[Correction], stop: Callable[[], bool]) -> RefitResult:
        begun = time.perf_counter()
        taught = self.correction_rows(corrections)
        figures: dict[str, Any] = {"corrections": len(corrections)}
        refusal = self._base.refuses(taught)
        if refusal is not None:
            return RefitResult(None, refusal, figures)
        settings = self._base.settings
        for emphasis in dict.fromkeys((settings.emphasis, 1)):
            candidate = self._base.candidate(taught, emphasis=emphasis, stop=stop)
            held_out = self._base.held_out(candidate)
            refusal = None if held_out is None else worse(*held_out, self._base.positive, settings)
            if refusal is None or (candidate.weights <= 1).all():
                break
        learned = int((candidate.weights > 0).sum())
        figures |= {
            "learned": learned,
            "confident": len(corrections) - learned,
            **self._right(taught, candidate),
        }
        figures["held_out"] = (
            None if held_out is None else dict(zip(("before", "after"), held_out, strict=True))
        )
        figures["seconds"] = time.perf_counter() - begun
        if refusal is not None:
            return RefitResult(None, refusal, figures, harmful=True)
        return RefitResult(candidate.head, "", figures)

    def _right(self, rows: CorrectionRows, candidate: Candidate) -> dict[str, int]:
        base, counts = self._base, {}
        for name, head in (("right_before", base.head), ("right_after", candidate.head)):
            labels = base.rule.labels(base.probabilities(rows.features, head), base.classes)
            counts[name] = int((labels == rows.targets).sum())
        return counts

    def correction_rows(self, corrections: Sequence[Correction]) -> CorrectionRows:
        """Return features, targets, force and keys of corrections, sorted by key."""
        self._compute_features(corrections)
        keys = text_keys([item.text for item in corrections])
        order = sorted(range(len(corrections)), key=lambda place: keys[place].tobytes())
        return CorrectionRows(
            np.array([self._features[corrections[i].id] for i in order], dtype=np.float64),
            np.array(
                [self._base.classes.index(corrections[i].label) for i in order], dtype=np.int64
            ),
            np.array([corrections[i].force for i in order], dtype=bool),
            keys[order],
        )

    def _compute_features(self, items: Sequence[Correction]) -> None:
        """Get the features of every correction from memory, from the store, or from the trunk."""
        missing = [item for item in items if item.id not in self._features]
        channels = self._base.head.weight.shape[1]
        if missing:
            self._features |= {
                id: vector
                for id, vector in self._steps.features(missing).items()
                if len(vector) == channels
            }
            missing = [item for item in missing if item.id not in self._features]
        if missing:
            vectors = self._classifier.embed([item.text for item in missing])
            found = dict(zip([item.id for item in missing], vectors, strict=True))
            self._steps.keep_features(found)
            self._features |= found

    def keep_only(self, ids: set[int]) -> None:
        """Remove the features of all other corrections from memory: another process may have
        undone them.
        """
        gone = set(self._features) - ids
        if gone:
            self.forget(gone)


def mark_of(items: Sequence[Correction]) -> str:
    """Return an identifier of a set of corrections that does not depend on their order."""
    rows = sorted((item.id, item.label, item.force) for item in items)
    return hashlib.sha256(repr(rows).encode()).hexdigest()
