"""Learning from corrections: a served model's head solved anew, on the disk what was learnt, in
memory what answers.

What answers depends on the corrections in effect alone, not on their order or history: a new start
solves the same again, and one that is undone leaves the bytes of before. The model's folder is only
read.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.classifier.saved_model import find_model
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import read_training_rows, weights_mark
from tamis.errors import DataError
from tamis.feedback.attempts import Attempts, RefitResult, mark_of
from tamis.feedback.guards import LearningSettings
from tamis.feedback.history import Step, Steps
from tamis.feedback.refit import Base, Interrupted, never
from tamis.feedback.store import Correction, CorrectionStore, NewCorrection
from tamis.head.refit import LinearHead, with_head

EVERYBODY = ""
"""The user whose corrections count for all."""
MOST_TRIES = 16
"""Attempts of one step to find out which corrections are too much."""


def model_name(run: Path | str) -> str:
    """The name of a run's model in a store: its folder's; that of RUN/model is the run's."""
    return _run_of(run).name


def default_store(run: Path | str) -> Path:
    """Where a run's corrections are kept: `RUN.feedback.sqlite` beside it."""
    path = _run_of(run)
    return path.with_name(f"{path.name}.feedback.sqlite")


def _run_of(run: Path | str) -> Path:
    path = Path(run).resolve()
    return path.parent if path.name == "model" else path


@dataclass(frozen=True)
class LearningResult:
    """How learning went."""

    learned: bool
    """whether every correction that is kept is in effect now"""
    reason: str
    """a sentence on why, or why not"""
    figures: dict[str, Any] = field(default_factory=dict)
    """by user (`""`: everybody's model), of what is in effect or else of what was refused:
    `corrections`, `learnt` and `sure` (counts), `right_before` and `right_after` (corrections with
    the right verdict), `held_out` (`before` and `after`: rows, loss and wrong by class; None where
    nothing is held out), `seconds`"""


@dataclass(frozen=True)
class _Active:
    """What answers a user, and the mark of the corrections it was made for."""

    classifier: TextClassifier
    mark: str


class FeedbackLearner:
    """One served model that learns. Any thread may call; answers never wait for a solve."""

    def __init__(
        self,
        classifier: TextClassifier,
        run: Path,
        store: CorrectionStore,
        *,
        model: str,
        settings: LearningSettings | None = None,
    ) -> None:
        """Take up what was learnt before; corrections that were kept and not yet learnt are learnt
        now.

        Args:
            classifier: the model as it was trained; it is never changed.
            run: its run or model folder, where its training rows may lie.
            store: the corrections; several models may share one.
            model: the model's name in the store.
            settings: how it learns.

        Raises:
            CheckpointError: the kept training rows are damaged.
            RunError: the store's file is none.
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
        """Keep corrections; they are on the disk when it returns. They count from the next `learn`
        on.

        Raises:
            DataError: a label is not one of the model's, or a text is not valid Unicode; nothing is
                kept then.
        """
        known = self._base.classes
        for place, item in enumerate(items):
            if item.label not in known:
                shown = ", ".join(map(repr, known[:10])) + (", ..." if len(known) > 10 else "")
                raise DataError(
                    f"item {place}: label {item.label!r:.80} is not one of the model's "
                    f"({shown}); mend it or leave it out"
                )
        return self._store.add(items, model=self._model)

    def items(self) -> list[Correction]:
        """Every correction of this model, in the order of their ids."""
        return self._store.all(model=self._model)

    def pending(self) -> int:
        """How many corrections of this model are kept and not in effect: not learnt yet, or held
        back.
        """
        effective = self._steps.ids_in_effect()
        return sum(item.id not in effective for item in self.items())

    def steps(self) -> list[Step]:
        """How every step went, the first one first."""
        return self._steps.all()

    def classifier_for(self, user: str = EVERYBODY) -> TextClassifier:
        """What answers that user now: everybody's corrections and the user's own; all users' models
        share one trunk.
        """
        present = self._present
        return (present.get(user) or present[EVERYBODY]).classifier

    def learn(self, stop: Callable[[], bool] = never) -> LearningResult:
        """Solve anew with every correction that is kept, and let the result answer from now on.

        Corrections that make held-out figures worse than the settings allow are held back: they
        stay in the store, those in effect stay in effect, and the next step tries them again. Where
        several are too much, halves of them are tried, and halves of those. `stop` is asked before
        each solution: once it says so, what has not been judged by then waits for the next step.
        """
        with self._lock:
            kept, effective = self.items(), self._steps.ids_in_effect()
            steps = {user: self._step(user, kept, effective, stop) for user in _users(kept)}
            self._activate(kept)
        if not steps:
            return LearningResult(False, "there is nothing to learn")
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
        """Learn a user's corrections on top of everybody's in effect, and write down how it went;
        `effective` grows by them.
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
                f" ({held:,} of {len(own):,} corrections wait)" if held < len(own) else ""
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
        """Keep what a step has learnt by now; the rest is tried again by the next one."""
        result = LearningResult(
            False, "stopped on the way; goes on soon", best.figures if best else {}
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
        """Undo one; whether it was there. Text, features and effect are gone when it returns."""
        with self._lock:
            if all(item.id != id for item in self.items()) or not self._store.remove(id):
                return False
            self.attempts.forget({id})
            self._activate(self.items())
            return True

    def remove_all(self, user: str | None = None) -> int:
        """Undo all corrections of this model, or those of one user (`""`: everybody's); how many
        there were.

        Without any, the model answers as it was trained.
        """
        with self._lock:
            ids = {item.id for item in self.items() if user is None or item.user == user}
            removed = self._store.remove_all(model=self._model, user=user)
            self.attempts.forget(ids)
            self._activate(self.items())
            return removed

    def _activate(self, kept: list[Correction]) -> None:
        """Let what is in effect answer, for everybody and for every user with corrections of their
        own; swapped in whole.
        """
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
            # What remains after another was undone may be refused: then none of it answers, rather
            # than what was undone.
            without = self._plain if user == EVERYBODY else present[EVERYBODY].classifier
            present[user] = _Active(without if head is None else self.classifier_with(head), mark)
        self._present = present

    def classifier_with(self, head: LinearHead) -> TextClassifier:
        """The classifier with another head; scores it may remember are of the old one."""
        other = copy.copy(self._plain)
        other.__dict__.pop("_known", None)
        scorer = self._plain.scorer()
        other.model_ = with_head(self._plain.model_, head)
        other._cast = other.model_ if scorer is self._plain.model_ else with_head(scorer, head)
        return other


def _users(items: list[Correction]) -> list[str]:
    """Everybody first: what all learn is part of what each learns."""
    return sorted({item.user for item in items})


def _combined(shared: list[Correction], own: list[Correction]) -> list[Correction]:
    """Corrections of a user's model: of a text that both correct, the user's own counts."""
    return list({item.text: item for item in (*shared, *own)}.values())
