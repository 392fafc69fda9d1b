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
from tamis.feedback.in_effect import (
    EVERYBODY,
    LearningResult,
    combined,
    outcome_sentence,
    users_of,
)
from tamis.feedback.refit import Base, Interrupted, never
from tamis.feedback.store import Correction, CorrectionStore, NewCorrection, with_model_labels
from tamis.head.refit import LinearHead

MOST_TRIES = 16
"""Most refits in one step to find out which corrections must be held back."""


@dataclass(frozen=True)
class _Active:
    """The classifier that answers a user, and the identifier of its set of corrections."""

    classifier: TextClassifier
    mark: str
    head: LinearHead | None = None
    """None: the head as trained"""


@dataclass
class _Found:
    """What a learning step has found out so far."""

    done: list[Correction]
    """corrections that are in effect"""
    best: RefitResult | None = None
    refused: int = 0
    reasons: list[str] = field(default_factory=list)
    harm: dict[str, Any] | None = None
    """held-out figures of the first refit that was refused"""
    interrupted: bool = False


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
        learn: bool = True,
    ) -> None:
        """Restore what was learned before, and learn the remaining stored corrections.

        Args:
            classifier: the model as trained; it is never changed.
            run: its run or model folder, which may contain its training rows.
            store: the corrections; several models may share a store.
            model: the model's name in the store.
            settings: how it learns.
            learn: False only restores what was learned before.

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
        self._seen: tuple[str, frozenset[int]] = (mark_of([]), frozenset())
        items = self.items()
        if items and learn:
            self.learn()
        elif items:
            with self._lock:
                self._activate(items)

    def add(self, items: Sequence[NewCorrection]) -> list[int]:
        """Store corrections on disk; they count from the next `learn` on.

        Raises:
            DataError: a label is not one of the model's labels, or a text is not valid Unicode;
                nothing is stored then.
            ConfigError: the model gives a text several labels.
        """
        self._plain.rule_.require_one_label("learning from corrections")
        return self._store.add(with_model_labels(items, self._base.classes), model=self._model)

    def items(self) -> list[Correction]:
        """Return every correction of this model, sorted by id."""
        return self._store.all(model=self._model)

    def ids_in_effect(self) -> set[int]:
        """Return the ids of the corrections that count in the answers."""
        return self._steps.ids_in_effect()

    def pending(self) -> int:
        """Number of corrections that are not in effect: not learned yet, or held back."""
        effective = self.ids_in_effect()
        return sum(item.id not in effective for item in self.items())

    def changed(self) -> bool:
        """Whether another process has added, learned or undone corrections since the last step."""
        return self._seen != self._state(self.items())

    def _state(self, kept: list[Correction]) -> tuple[str, frozenset[int]]:
        return mark_of(kept), frozenset(self._steps.ids_in_effect())

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
            self.attempts.keep_only({item.id for item in kept})
            steps = {user: self._step(user, kept, effective, stop) for user in users_of(kept)}
            self._activate(kept)
        if not steps:
            return LearningResult(False, "there are no corrections to learn")
        reasons = dict.fromkeys(step.reason for step in steps.values() if not step.learned) or [
            next(iter(steps.values())).reason
        ]
        return LearningResult(
            all(step.learned for step in steps.values()),
            "; ".join(reasons),
            sum(step.corrections for step in steps.values()),
            sum(step.in_effect for step in steps.values()),
            {user: step.figures[user] for user, step in steps.items()},
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
        found = _Found([item for item in own if item.id in effective])
        waiting, tries = [[item for item in own if item.id not in effective]], 0
        while waiting:
            some = waiting.pop(0)
            try:
                outcome = self.attempts.result(combined(shared, found.done + some), stop)
            except Interrupted:
                found.interrupted = True
                break
            tries += 1
            if outcome.learned:
                found.best, found.done = outcome, found.done + some
            elif outcome.harmful and len(some) > 1 and tries < MOST_TRIES:
                waiting[:0] = [some[: len(some) // 2], some[len(some) // 2 :]]
            else:
                found.refused += len(some)
                found.reasons.append(outcome.reason)
                found.harm = found.harm or outcome.figures.get("held_out")
        if found.best is None and found.done and not found.interrupted:
            self._examine(shared, found, effective)
        result = self._result(user, shared, own, found)
        new = {item.id for item in found.done} - effective
        mark = mark_of(combined(shared, found.done if found.interrupted else own))
        if new or (
            not found.interrupted and self._steps.is_news(user, mark, learned=result.learned)
        ):
            self._steps.record(
                user,
                found.done,
                mark,
                learned=result.learned,
                reason=result.reason,
                figures=result.figures[user],
            )
        effective |= new
        return result

    def _examine(self, shared: list[Correction], found: _Found, effective: set[int]) -> None:
        """Look at the corrections that were in effect before this step, none of which is new.

        They are withdrawn if they are refused now, as after the undo of others.
        """
        outcome = self.attempts.result(combined(shared, found.done))
        if outcome.learned:
            found.best = outcome
            return
        ids = {item.id for item in found.done}
        self._steps.withdraw(ids)
        effective -= ids
        found.refused += len(ids)
        found.reasons.append(outcome.reason)
        found.done = []

    @staticmethod
    def _result(
        user: str, shared: list[Correction], own: list[Correction], found: _Found
    ) -> LearningResult:
        """Describe what is in effect after a step; refits that were refused leave no figures."""
        figures = {} if found.best is None else dict(found.best.figures)
        figures |= {
            "corrections": len(combined(shared, own)),
            "in_effect": len(combined(shared, found.done)),
            "held_back": found.refused,
            "waiting": len(own) - len(found.done) - found.refused,
        }
        if found.harm is not None:
            figures["refused"] = found.harm
        return LearningResult(
            len(found.done) == len(own),
            outcome_sentence(figures, found.reasons),
            len(own),
            len(found.done),
            {user: figures},
        )

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
        """Activate the corrections in effect, for the shared model and for users, at once, and
        store the heads for other processes.
        """
        effective = self._steps.ids_in_effect()
        in_effect = [item for item in kept if item.id in effective]
        present: dict[str, _Active] = {}
        withdrawn: set[int] = set()
        for user in dict.fromkeys((EVERYBODY, *users_of(in_effect))):
            own = [item for item in in_effect if item.user == user]
            shared = [
                item for item in in_effect if item.user == EVERYBODY and item.id not in withdrawn
            ]
            wanted = combined(shared, own)
            mark, before = mark_of(wanted), self._present.get(user)
            if before is not None and before.mark == mark:
                present[user] = before
                continue
            head = self.attempts.result(wanted).head if wanted else None
            # After an undo, the remaining corrections may be refused; then none of them is active,
            # rather than the undone state, and the next step tries them again.
            if wanted and head is None:
                withdrawn |= {item.id for item in own}
                if user != EVERYBODY:
                    present[user] = present[EVERYBODY]
                    continue
                wanted, mark = [], mark_of([])
            if head is None:
                present[user] = _Active(self._plain, mark)
            else:
                present[user] = _Active(self.classifier_with(head), mark, head)
        if withdrawn:
            self._steps.withdraw(withdrawn)
        self._present = present
        heads = {user: active.head for user, active in present.items() if active.head is not None}
        self._steps.keep_heads(heads, effective - withdrawn)
        self._seen = self._state(kept)

    def classifier_with(self, head: LinearHead) -> TextClassifier:
        """Return the classifier with another head, without cached scores of the old one."""
        other = copy.copy(self._plain)
        other.predictor_ = self._plain.predictor_.with_head(head)
        return other
