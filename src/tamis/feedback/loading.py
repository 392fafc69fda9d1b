"""Load a model for predictions with what it has learned from corrections.

The head is read from the store, not solved again. Imports torch only for a run or a model folder.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.errors import RunError
from tamis.export.folder import is_exported
from tamis.export.loading import load_classifier as load_as_trained
from tamis.feedback.in_effect import EVERYBODY, counted
from tamis.feedback.store import Correction, default_store, model_name
from tamis.feedback.stored_head import ModelKey, StoredLearning, read_learning
from tamis.files import as_path

if TYPE_CHECKING:
    from tamis.classifier.text_classifier import TextClassifier
    from tamis.export.loading import Classifier
    from tamis.head.logistic_regression import LinearHead

logger = logging.getLogger("tamis.feedback")


@dataclass(frozen=True)
class FeedbackChoice:
    """Which corrections a command uses."""

    use: bool = True
    """False: the model as trained; the store is not read"""
    store: Path | None = None
    """file with the corrections; None: `RUN.feedback.sqlite` beside RUN, if it exists"""
    user: str = EVERYBODY
    """also use the corrections of this user"""


BY_DEFAULT = FeedbackChoice()


@dataclass(frozen=True)
class FeedbackInUse:
    """What a loaded model has learned from its store."""

    store: Path | None = None
    """None: there is no store, or it is not used"""
    used: tuple[Correction, ...] = ()
    """the corrections that count in the answers"""
    waiting: int = 0
    """stored corrections that do not count: held back, or not learned yet"""
    of_users: int = 0
    """corrections in effect for other users only"""
    notes: tuple[str, ...] = field(default=())
    """one sentence, or none if there are no corrections"""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "store": None if self.store is None else str(self.store),
            "in_effect": len(self.used),
            "not_in_effect": self.waiting,
        }


@dataclass(frozen=True)
class LoadedModel:
    """A classifier that predicts, and what it has learned."""

    classifier: Classifier
    feedback: FeedbackInUse
    trained: Classifier
    """the model as trained; the same object where nothing is in effect"""


def load_classifier(
    run: Path | str,
    *,
    feedback: bool = True,
    store: Path | str | None = None,
    user: str = EVERYBODY,
    **compute: Any,
) -> Classifier:
    """Return the classifier of a run folder, a model folder, or an exported folder, with the
    corrections that `tamis learn` and `tamis serve` have stored for it.

    Its verdicts are those of `tamis predict` and of the server. `TextClassifier.load` returns the
    model as it was trained. What is used is logged on the logger `tamis.feedback`.

    Args:
        run: the folder, or `ORGANIZATION/NAME` of the Hugging Face hub.
        feedback: False: the model as trained.
        store: file with the corrections; `RUN.feedback.sqlite` beside RUN by default.
        user: also use the corrections of this user.
        compute: `device`, `threads` and `dtype`, as for `TextClassifier.load`.

    Raises:
        RunError: there is no such folder, or the store cannot be used.
        CheckpointError, ConfigError, MissingExtraError: see `TextClassifier.load` and
            `OnnxClassifier.load`.
    """
    run = as_path(run, "run")
    choice = FeedbackChoice(feedback, None if store is None else as_path(store, "store"), user)
    loaded = load_with_feedback(run, choice, **compute)
    for note in loaded.feedback.notes:
        logger.info(note)
    return loaded.classifier


def load_with_feedback(
    run: Path | str,
    choice: FeedbackChoice = BY_DEFAULT,
    **compute: Any,
) -> LoadedModel:
    """Load a model with the corrections in effect, and tell what is used.

    Args:
        run: as `load_classifier`.
        choice: which corrections are used.
        compute: `device`, `threads` and `dtype`.

    Raises:
        TamisError: as `load_classifier`.
    """
    path = store_of(run, choice)
    if path is None:
        classifier: Any = load_as_trained(run, **compute)
        return LoadedModel(classifier, FeedbackInUse(), classifier)
    if is_exported(run):
        # The store is read first: a broken one is told before seconds of loading.
        stored = read_learning(path, ModelKey(model_name(run), "", ""))
        classifier = load_as_trained(run, **compute)
        return LoadedModel(classifier, _of_exported(path, stored), classifier)
    from tamis.classifier.model_folder import find_model
    from tamis.classifier.training_features import weights_mark

    dtype = str(compute.get("dtype", "fp32"))
    mark = weights_mark(find_model(run))
    key = ModelKey(model_name(run), mark, dtype)
    stored = read_learning(path, key, choice.user)
    classifier = trained = load_as_trained(run, **compute)
    resolved = classifier.recipe_.compute.dtype
    if stored.items and resolved != dtype:  # `auto` is known after the model is loaded
        key = ModelKey(key.model, mark, resolved)
        stored = read_learning(path, key, choice.user)
    used = stored.used_by(choice.user)
    if used:
        head = stored.head_for(choice.user)
        classifier = (
            _solved(classifier, Path(run), path, choice.user)
            if head is None
            else with_head(classifier, head)
        )
    return LoadedModel(classifier, _in_use(run, path, stored, choice.user), trained)


def store_of(run: Path | str, choice: FeedbackChoice) -> Path | None:
    """Return the store that a command reads, or None if it reads none.

    Raises:
        RunError: the store that was asked for does not exist.
    """
    if not choice.use:
        return None
    path = choice.store or default_store(run)
    if path.exists():
        return path
    if choice.store is not None:
        raise RunError(
            f"{path} does not exist; give the store of tamis learn or tamis serve with --store, "
            "or leave --store out"
        )
    return None


def with_head(classifier: TextClassifier, head: LinearHead) -> TextClassifier:
    """Return a classifier with another head on the same trunk; the given one is not changed."""
    import copy

    other = copy.copy(classifier)
    other.predictor_ = classifier.predictor_.with_head(head)
    return other


def _solved(classifier: TextClassifier, run: Path, path: Path, user: str) -> TextClassifier:
    """Solve the head again for the corrections in effect, and keep it in the store for next time:
    a store of an earlier version has no heads, and an undo deletes them.
    """
    from tamis.feedback.learning import FeedbackLearner
    from tamis.feedback.store import CorrectionStore

    with tempfile.TemporaryDirectory() as temporary:
        if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            path = Path(shutil.copy(path, temporary))
        kept = CorrectionStore(path)
        try:
            learner = FeedbackLearner(classifier, run, kept, model=model_name(run), learn=False)
            return learner.classifier_for(user)
        finally:
            kept.close()


def _of_exported(path: Path, stored: StoredLearning) -> FeedbackInUse:
    count = len(stored.items)
    if not count:
        return FeedbackInUse(path)
    note = (
        f"{counted(count)} in {path} {'are' if count > 1 else 'is'} only stored: an exported model "
        "does not learn. Learn in the run that it was exported from, and export it again"
    )
    return FeedbackInUse(path, (), count, 0, (note,))


def _in_use(run: Path | str, path: Path, stored: StoredLearning, user: str) -> FeedbackInUse:
    used, waiting = stored.used_by(user), stored.waiting_for(user)
    others = {item.user for item in stored.items if item.id in stored.in_effect}
    others -= {EVERYBODY, user}
    of_users = sum(item.user in others for item in stored.items if item.id in stored.in_effect)
    parts = []
    if used:
        verb = "are" if len(used) > 1 else "is"
        parts.append(
            f"{counted(len(used))} of {path} {verb} in effect (--no-feedback: the model as trained)"
        )
    if waiting:
        verb, where = "are" if waiting > 1 else "is", "" if used else f" in {path}"
        parts.append(
            f"{counted(waiting)}{where} {verb} not in effect (to learn: tamis learn {run} "
            "--pending)"
        )
    if of_users and not user:
        parts.append(f"{counted(of_users)} of users count with --user NAME only")
    notes = ("; ".join(parts),) if parts else ()
    return FeedbackInUse(path, tuple(used), waiting, of_users, notes)
