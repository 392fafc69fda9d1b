"""Learning from corrections: refits the head of a served model, stores what was learned, and
provides the classifier that answers.

The answers depend only on the set of corrections in effect, not on their order or history: after a
restart the same head is solved again, and undoing a correction restores the previous head byte for
byte. The model's folder is only read.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.classifier.model_folder import find_model
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import read_training_rows, weights_mark
from tamis.feedback.attempts import Attempts, RefitResult, mark_of
from tamis.feedback.guards import LearningSettings
from tamis.feedback.history import Step, Steps
from tamis.feedback.refit import Base, Interrupted, never
from tamis.feedback.store import Correction, CorrectionStore, NewCorrection, check_labels
from tamis.head.refit import LinearHead

EVERYBODY = ""
"""The user whose corrections apply to all users."""
MOST_TRIES = 16
"""Most refits in one step to find out which corrections must be held back."""


@dataclass(frozen=True)
class LearningResult:
    """The result of a learning step."""

    learned: bool
    """whether every stored correction is now in effect"""
    reason: str
    """a sentence that gives the reason"""
    figures: dict[str, Any] = field(default_factory=dict)
    """by user (`""`: the shared model), for the corrections in effect, or for those that were held
    back: `corrections`, `learnt` and `sure` (counts), `right_before` and `right_after` (corrections
    with the right verdict), `held_out` (`before` and `after`: rows, loss and wrong by class; None
    if no rows are held out), `seconds`"""


@dataclass(frozen=True)
class _Active:
    """The classifier that answers a user, and the identifier of its set of corrections."""

    classifier: TextClassifier
    mark: str


class FeedbackLearner:
    """One served model that learns. Thread-safe; predictions never wait for a refit."""

    def __init__(
        self,
        classifier: TextClassifier,
        run: Path,
        store: CorrectionStore,
        *,
        model: str,
        settings: LearningSettings | None = None,
    ) -> None:
        """Restore what was learned before, and learn the remaining stored corrections.

        Args:
            classifier: the model as trained; it is never changed.
            run: its run or model folder, which may contain its training rows.
            store: the corrections; several models may share a store.
            model: the model's name in the store.
            settings: how it learns.

        Raises:
            CheckpointError: the stored training rows are damaged.
            RunError: the file is not a store of corrections.
        """
        self._plain, self._store, self._model = classifier, store, model
        self._base = Base(classifier, read_training_rows(run), settings or LearningSettings())
        mark, dtype = weights_mark(find_model(run)), classifier.recipe_.compute.dtype
        self._steps = Steps(store.path, model=model, weights=mark, dtype=dtype)
        self.attempts = Attempts(classifier, self._base, self._steps)
        self._present: dict[str, _Active] = {EVERYBODY: _Active(classifier, mark_of([]))}
        self._lock = threading.Lock()
        if self.items():
            self.learn()

    def add(self, items: Sequence[NewCorrection]) -> list[int]:
        """Store corrections on disk; they count from the next `learn` on.

        Raises:
            DataError: a label is not one of the model's labels, or a text is not valid Unicode;
                nothing is stored then.
            ConfigError: the model gives a text several labels.
        """
        self._plain.rule_.require_one_label("learning from corrections")
        check_labels(items, self._base.classes)
        return self._store.add(items, model=self._model)

    def items(self) -> list[Correction]:
        """Return every correction of this model, sorted by id."""
        return self._store.all(model=self._model)

    def pending(self) -> int:
        """Number of corrections that are not in effect: not learned yet, or held back."""
        effective = self._steps.ids_in_effect()
        return sum(item.id not in effective for item in self.items())

    def steps(self) -> list[Step]:
        """Return the result of every step, oldest first."""
        return self._steps.all()

    def classifier_for(self, user: str = EVERYBODY) -> TextClassifier:
        """Return the classifier that answers a user: with shared corrections and the user's own.

        All users' classifiers share one trunk.
        """
        present = self._present
        return (present.get(user) or present[EVERYBODY]).classifier

    def learn(self, stop: Callable[[], bool] = never) -> LearningResult:
        """Refit with every stored correction and let the result answer from now on.

        Corrections that worsen held-out figures by more than the settings allow are held back: they
        stay in the store, those in effect stay in effect, and the next step tries them again. If a
        set is held back, its halves are tried, and halves of those. `stop` is called before each
        solve; if it returns True, the remaining corrections wait for the next step.
        """
        with self._lock:
            kept, effective = self.items(), self._steps.ids_in_effect()
            steps = {user: self._step(user, kept, effective, stop) for user in _users(kept)}
            self._activate(kept)
        if not steps:
            return LearningResult(False, "there are no corrections to learn")
        first = next(iter(steps.values()))
        reasons = dict.fromkeys(step.reason for step in steps.values() if not step.learned) or [
            first.reason
        ]
        return LearningResult(
            all(step.learned for step in steps.values()),
            "; ".join(reasons),
            {u: step.figures for u, step in steps.items()},
        )

    def _step(
        self, user: str, kept: list[Correction], effective: set[int], stop: Callable[[], bool]
    ) -> LearningResult:
        """Learn a user's corrections on top of the shared ones in effect, and record the result.

        Adds the corrections that are now in effect to `effective`.
        """
        own = [item for item in kept if item.user == user]
        shared = [
            item
            for item in kept
            if item.user == EVERYBODY and item.id in effective and user != EVERYBODY
        ]
        done = [item for item in own if item.id in effective]
        best: RefitResult | None = None
        refused: list[tuple[int, RefitResult]] = []
        waiting, tries = [[item for item in own if item.id not in effective]], 0
        while waiting:
            some = waiting.pop(0)
            try:
                outcome, tries = (
                    self.attempts.result(_combined(shared, done + some), stop),
                    tries + 1,
                )
            except Interrupted:
                return self._stopped(user, shared, done, best, effective)
            if outcome.learned:
                best, done = outcome, done + some
            elif outcome.harmful and len(some) > 1 and tries < MOST_TRIES:
                waiting[:0] = [some[: len(some) // 2], some[len(some) // 2 :]]
            else:
                refused.append((len(some), outcome))
        learned, mark = not refused, mark_of(_combined(shared, own))
        if refused:
            held = sum(count for count, _ in refused)
            reason = refused[0][1].reason + (
                f" ({held:,} of {len(own):,} corrections are held back)" if held < len(own) else ""
            )
        shown = best or refused[0][1]
        result = LearningResult(learned, shown.reason if learned else reason, shown.figures)
        new = {item.id for item in done} - effective
        if new or self._steps.is_news(user, mark, learned=learned):
            self._steps.record(
                user, done, mark, learned=learned, reason=result.reason, figures=result.figures
            )
        effective |= new
        return result

    def _stopped(
        self,
        user: str,
        shared: list[Correction],
        done: list[Correction],
        best: RefitResult | None,
        effective: set[int],
    ) -> LearningResult:
        """Keep what a step has learned so far; the next step tries the rest again."""
        result = LearningResult(
            False, "interrupted; learning continues soon", best.figures if best else {}
        )
        new = {item.id for item in done} - effective
        if new:
            mark = mark_of(_combined(shared, done))
            self._steps.record(
                user, done, mark, learned=False, reason=result.reason, figures=result.figures
            )
        effective |= new
        return result

    def remove(self, id: int) -> bool:
        """Undo a correction, with its text, features and effect; returns whether it existed."""
        with self._lock:
            if all(item.id != id for item in self.items()) or not self._store.remove(id):
                return False
            self.attempts.forget({id})
            self._activate(self.items())
            return True

    def remove_all(self, user: str | None = None) -> int:
        """Undo all corrections, or those of one user (`""`: the shared ones); returns their number.

        Without corrections, the model answers as it was trained.
        """
        with self._lock:
            ids = {item.id for item in self.items() if user is None or item.user == user}
            removed = self._store.remove_all(model=self._model, user=user)
            self.attempts.forget(ids)
            self._activate(self.items())
            return removed

    def _activate(self, kept: list[Correction]) -> None:
        """Activate the corrections in effect, for the shared model and for users, at once."""
        effective = self._steps.ids_in_effect()
        in_effect = [item for item in kept if item.id in effective]
        present: dict[str, _Active] = {}
        for user in dict.fromkeys((EVERYBODY, *_users(in_effect))):
            own = [item for item in in_effect if item.user == user]
            wanted = _combined([item for item in in_effect if item.user == EVERYBODY], own)
            mark, before = mark_of(wanted), self._present.get(user)
            if before is not None and before.mark == mark:
                present[user] = before
                continue
            head = self.attempts.result(wanted).head if wanted else None
            # After an undo, the remaining corrections may be refused; then none of them is active,
            # rather than the undone state.
            without = self._plain if user == EVERYBODY else present[EVERYBODY].classifier
            present[user] = _Active(without if head is None else self.classifier_with(head), mark)
        self._present = present

    def classifier_with(self, head: LinearHead) -> TextClassifier:
        """Return the classifier with another head, without cached scores of the old one."""
        other = copy.copy(self._plain)
        other.predictor_ = self._plain.predictor_.with_head(head)
        return other


def _users(items: list[Correction]) -> list[str]:
    """Return the users, the shared one first: its corrections are part of what each user learns."""
    return sorted({item.user for item in items})


def _combined(shared: list[Correction], own: list[Correction]) -> list[Correction]:
    """Return the corrections of a user's model; for a text in both lists, the user's own counts."""
    return list({item.text: item for item in (*shared, *own)}.values())
