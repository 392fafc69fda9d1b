"""Runs that learn: a head solved on `nano`, trained once, and corrections that it needs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tamis.classifier.text_classifier import TextClassifier
from tamis.feedback.guards import LearningSettings
from tamis.feedback.learning import FeedbackLearner
from tamis.feedback.store import CorrectionStore, NewCorrection, model_name
from tests import runs

TEXTS = [
    "Pick up your free lunch voucher at reception, love from the canteen team",
    "hey the prize draw at school is on friday, bring the kids",
    "ur account of the evening was hilarious, ring me",
    "Kindly revert on the loan that we discussed, sir",
    "hi its me, new number, can you send 40 quid for the bus please",
    "crypto doubles every week, ask me how mate",
    "the bank holiday is on monday, u coming to the seaside?",
    "your friend sent you a photo, tap to see it",
]


@cache
def head_run() -> Path:
    """A finished run whose head alone was solved."""
    options = ("--backbone", "nano", "--tune", "head", "--threads", "1")
    return runs.made_once("learns", lambda path: runs.write_run(path, *options))


@cache
def head_classifier() -> TextClassifier:
    """Its classifier; nothing that learns may change it."""
    return TextClassifier.load(head_run(), threads=1)


def mistaken(
    count: int = len(TEXTS), classifier: TextClassifier | None = None
) -> list[NewCorrection]:
    """Corrections of texts that the model as it was trained gets wrong."""
    known = classifier or head_classifier()
    other = dict(zip(known.classes_, reversed(known.classes_), strict=True))
    return [
        NewCorrection(text, other[label])
        for text, label in zip(TEXTS[:count], known.predict(TEXTS[:count]), strict=True)
    ]


def learning(
    store: Path | CorrectionStore, run: Path | None = None, **settings: float
) -> FeedbackLearner:
    """A model that learns from a store; guards as they are by default, but the check on held-out
    rows off unless asked for.
    """
    run = run or head_run()
    classifier = head_classifier() if run == head_run() else TextClassifier.load(run, threads=1)
    chosen = LearningSettings.model_validate(
        {"max_fpr_increase": 1.0, "max_fnr_increase": 1.0, **settings}
    )
    kept = store if isinstance(store, CorrectionStore) else CorrectionStore(store)
    return FeedbackLearner(classifier, run, kept, model=model_name(run), settings=chosen)


def weights(classifier: TextClassifier) -> dict[str, bytes]:
    """Every weight's bytes."""
    return {
        name: tensor.numpy().tobytes()
        for name, tensor in classifier.predictor_.model.state_dict().items()
    }


def right(found: FeedbackLearner, items: list[NewCorrection], user: str = "") -> int:
    """How many of the corrections the model that answers a user gets right."""
    labels = found.classifier_for(user).predict([item.text for item in items])
    return sum(str(label) == item.label for label, item in zip(labels, items, strict=True))
