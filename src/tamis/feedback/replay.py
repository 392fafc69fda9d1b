"""Prequential replay of a trained model: as served with learning, without learning, and its trunk
with a head that starts from no labels.

Features of all messages are computed once. Each step solves the head to its optimum from its
previous value, as a served model does, with the guards on single corrections (confidence, emphasis,
balance), but without the check on held-out rows, to which a person would respond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import TrainingRows, read_training_rows, text_keys
from tamis.errors import ConfigError
from tamis.evaluation.prequential import (
    DELAY,
    SHARE,
    PrequentialFigures,
    PrequentialFilter,
    Replay,
    feedbacks,
    prequential_figures,
    replay,
)
from tamis.evaluation.prequential_tfidf import HashedTfidf
from tamis.feedback.guards import LearningSettings, is_confident
from tamis.feedback.refit import Base, CorrectionRows
from tamis.head.linear_head import DEFAULT
from tamis.head.refit import LinearHead, Problem, solve_again
from tamis.progress import Progress, Silent

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

SERVED, STATIC, FRESH, TFIDF = (
    "this model, learning",
    "this model as it is",
    "its trunk, head from nothing",
    "TF-IDF, logistic regression",
)
_LOOSE = 1e-4
"""Tolerance of a step; enough for verdicts."""


class ServedFilter:
    """The model as a server runs it; every known label is a correction."""

    def __init__(
        self, base: Base, features: Floats, targets: Rows, keys: NDArray[np.uint8], place: int
    ) -> None:
        """Start without corrections; `place` is the number of the positive class."""
        self._base, self._place = base, place
        self._features, self._targets, self._keys = features, targets, keys
        self._head = base.head

    def learn(self, known: Rows) -> None:
        """Solve with the known labels, except those that both heads predict confidently."""
        base = self._base
        if (
            base.rows is not None
        ):  # training rows hold the head; without them, confident corrections must
            sure = [
                is_confident(
                    base.probabilities(self._features[known], head),
                    self._targets[known],
                    base.rule,
                    base.classes,
                    base.settings.confident,
                )
                for head in (base.head, self._head)
            ]
            known = known[~(sure[0] & sure[1])]
        # If a text occurs again, its last label counts, as in the store.
        last = {
            key.tobytes(): row for key, row in zip(self._keys[known], known.tolist(), strict=True)
        }
        known = np.array(sorted(last.values()), dtype=np.int64)
        taught = CorrectionRows(
            self._features[known],
            self._targets[known],
            np.zeros(len(known), dtype=bool),
            self._keys[known],
        )
        if len(known) and base.refuses(taught) is None:
            self._head = base.candidate(taught, start=self._head).head

    def scores(self, rows: Rows) -> Floats:
        """Return P(positive) of the current head."""
        return self._base.probabilities(self._features[rows], self._head)[:, self._place]


class FreshFilter:
    """Logistic regression on the trunk's features that starts without any label."""

    def __init__(self, features: Floats, is_positive: NDArray[np.bool_]) -> None:
        """Start without labels."""
        self._features, self._truth = features, is_positive
        self._head = LinearHead.zero(2, features.shape[1])
        self._fitted, self._share = False, (0.0, 0)

    def learn(self, known: Rows) -> None:
        """Solve with all known labels."""
        truth = self._truth[known]
        self._share = (float(truth.sum()), len(truth))
        if truth.all() or not truth.any():
            return
        targets = np.eye(2)[truth.astype(np.int64)]
        problem = Problem(self._features[known], targets, np.ones(len(known)), DEFAULT)
        found = solve_again(problem, start=self._head, tolerance=_LOOSE)
        self._head, self._fitted = found.head, True

    def scores(self, rows: Rows) -> Floats:
        """Return P(positive).

        Until both classes are known, this is the share of positives, smoothed with half a positive
        in two messages.
        """
        if not self._fitted:
            return np.full(len(rows), (self._share[0] + 0.5) / (self._share[1] + 2))
        logits = self._head.logits(self._features[rows])
        scores: Floats = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        return scores


@dataclass(frozen=True)
class LabelledStream:
    """N labelled messages in their order."""

    texts: Sequence[str]
    labels: Sequence[str]
    """(N,) labels of the classifier"""
    positive: str | None
    """the label to find"""
    before: tuple[Sequence[str], Sequence[str]] = ((), ())
    """texts and labels that TF-IDF starts with; the model has been trained already"""


def run_prequential(
    classifier: TextClassifier,
    run: Path | str,
    stream: LabelledStream,
    *,
    delay: int = DELAY,
    share: float = SHARE,
    settings: LearningSettings | None = None,
    progress: Progress | None = None,
) -> tuple[list[PrequentialFigures], list[str]]:
    """Replay labelled messages through the model and TF-IDF under every kind of feedback.

    Returns the figures and notes for the user.

    Args:
        classifier: a classifier for two classes.
        run: its folder, which may contain its training rows.
        stream: N labelled messages.
        delay: messages until a label becomes known, for delayed feedback.
        share: share of the messages whose labels become known, for partial feedback.
        settings: settings of learning.
        progress: progress callback.

    Raises:
        ConfigError: not exactly two classes, or no positive label; a delay or share out of range.
    """
    names = [str(label) for label in classifier.classes_]
    texts, positive, before = stream.texts, stream.positive, stream.before
    if positive is None or len(names) != 2:
        raise ConfigError(
            "prequential evaluation needs two classes, one of them positive; the model has "
            f"{len(names)}: {', '.join(names)}"
        )
    kinds = feedbacks(delay, share)
    kept, seed = read_training_rows(Path(run)), classifier.recipe_.seed
    base = Base(classifier, kept, settings or LearningSettings())
    features = classifier.predictor_.embed(texts, progress=progress).astype(np.float64)
    targets = np.array([names.index(label) for label in stream.labels], dtype=np.int64)
    place, keys = names.index(positive), text_keys(texts)
    truth = targets == place
    known = np.array([label == positive for label in before[1]], dtype=bool)
    threshold = (
        classifier.rule_.threshold
        if positive == classifier.positive_ and classifier.rule_.threshold is not None
        else 0.5
    )
    results = []
    with (progress or Silent()).task("replay", total=3 * len(kinds) + 1, unit="replays") as task:
        static = Replay(base.probabilities(features)[:, place], 0, 0)
        results.append(
            prequential_figures(STATIC, "", static, truth, threshold=threshold, seed=seed)
        )
        task.advance()
        for kind in kinds:
            filters: list[tuple[str, PrequentialFilter, float]] = [
                (SERVED, ServedFilter(base, features, targets, keys, place), threshold),
                (FRESH, FreshFilter(features, truth), 0.5),
                (TFIDF, HashedTfidf(texts, truth, before=before[0], before_is_positive=known), 0.5),
            ]
            for name, learner, cut in filters:
                found = replay(learner, kind, len(texts), seed=seed)
                results.append(
                    prequential_figures(name, kind.name, found, truth, threshold=cut, seed=seed)
                )
                task.advance()
    return results, _notes(base, kept, keys, bool(len(before[0])))


def _notes(
    base: Base, kept: TrainingRows | None, keys: NDArray[np.uint8], with_before: bool
) -> list[str]:
    from tamis.feedback.refit import among

    start = "the training part of the split" if with_before else "no labels"
    notes = [
        f"TF-IDF starts with {start}, {SERVED!r} with its training rows, {FRESH!r} with no labels."
    ]
    if base.rows is None:
        notes.append(
            "No training rows are stored with this model: it learns only from the corrections, "
            "with a penalty towards its trained head."
        )
    seen = 0 if kept is None else int(among(keys, kept.keys).sum())
    if seen:
        notes.append(
            f"{seen:,} of the {len(keys):,} messages are among the model's training rows, so its "
            "figures are too optimistic."
        )
    return notes
