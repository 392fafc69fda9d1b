"""Prequential evaluation, as in TREC's spam track: each message is classified first, and its label
becomes known afterwards, with a delay, or never.

This module defines the order of events and the metrics; a `PrequentialFilter` learns. Sources:
Cormack & Lynam 2005 (TREC 2005 spam track: ham and spam misclassification, logistic average,
1-ROCA); its 2006 and 2007 tracks (delayed and partial feedback).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.errors import ConfigError, DataError
from tamis.evaluation.metrics import wilson

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

GROWTH = 0.1
"""A filter learns again when the number of known labels has grown by this fraction: after each of
the first twenty labels, then less and less often."""
DELAY = 100
SHARE = 0.1
CURVE_POINTS = 60
RESAMPLES = 1000
BLOCK_ELEMENTS = 4_000_000  # elements per block of the bootstrap: 32 MB


@dataclass(frozen=True)
class Feedback:
    """When labels become known: `delay` messages after their message, for a random fraction `share`
    of the messages. The other labels never become known.
    """

    name: str
    delay: int = 0
    share: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: `delay` is negative, or `share` is not in (0, 1].
        """
        if self.delay < 0:
            raise ConfigError(f"delay: expected at least 0 messages, got {self.delay}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"share: expected a fraction above 0 and at most 1, got {self.share}")

    def known_after(self, messages: int, *, seed: int = 42) -> Rows:
        """(N,) number of classified messages when each label becomes known; N + 1 means never."""
        after = np.arange(messages) + 1 + self.delay
        if self.share < 1:
            after[np.random.default_rng(seed).random(messages) >= self.share] = messages + 1
        return np.minimum(after, messages + 1).astype(np.int64)


def feedbacks(delay: int = DELAY, share: float = SHARE) -> tuple[Feedback, ...]:
    """The kinds of feedback in TREC: immediate, delayed, partial."""
    return (
        Feedback("immediate"),
        Feedback(f"delayed by {delay:,}", delay=delay),
        Feedback(f"partial ({100 * share:g} %)", share=share),
    )


class PrequentialFilter(Protocol):
    """A filter that learns during the evaluation. It has all texts, but only those labels that are
    passed to `learn`.
    """

    def learn(self, known: Rows) -> None:
        """Learn from the labels of these messages: all labels known so far."""
        ...

    def scores(self, rows: Rows) -> Floats:
        """Return P(positive) of these messages with the current model."""
        ...


@dataclass(frozen=True)
class Replay:
    """Scores of N messages, each computed before its label was known."""

    scores: Floats
    """(N,) P(positive)"""
    labels: int
    """number of labels that became known"""
    steps: int
    """number of learning steps"""


def replay(
    learner: PrequentialFilter,
    feedback: Feedback,
    messages: int,
    *,
    seed: int = 42,
    growth: float = GROWTH,
) -> Replay:
    """Classify all messages in order; learn when enough new labels are known."""
    after = feedback.known_after(messages, seed=seed)
    order = np.argsort(after, kind="stable")
    known_at = after[order]
    scores = np.empty(messages)
    position = learnt = steps = 0
    due = 1  # number of known labels at which the filter learns again
    while position < messages:
        known = int(np.searchsorted(known_at, position, side="right"))
        if known >= due:
            learner.learn(np.sort(order[:known]))
            learnt, steps = known, steps + 1
            due = learnt + max(1, int(learnt * growth))
        stop = (
            min(messages, max(position + 1, int(known_at[due - 1])))
            if due <= messages
            else messages
        )
        scores[position:stop] = learner.scores(np.arange(position, stop))
        position = stop
    return Replay(scores, int((after <= messages).sum()), steps)


@dataclass(frozen=True)
class PrequentialFigures:
    """Metrics of one filter under one kind of feedback, in percent of the messages of a class; None
    if a class is absent.
    """

    filter: str
    feedback: str
    messages: int
    labels: int
    steps: int
    threshold: float
    ham_misclassification: float | None
    """percent of the negatives classified as positive (TREC: hm%)"""
    ham_misclassification_ci95: list[float] | None
    spam_misclassification: float | None
    """percent of the positives classified as negative (TREC: sm%)"""
    spam_misclassification_ci95: list[float] | None
    lam: float | None
    """logistic average of both rates, in percent; half a message is added to each count, so that
    the result is finite"""
    one_minus_roca: float | None
    """100 (1 - area under the ROC curve) over all messages (TREC: 1-ROCA%)"""
    one_minus_roca_ci95: list[float] | None
    """95 % interval, bootstrap within each class"""
    curve: list[tuple[int, float]]
    """number of messages so far, and 1-ROCA% of these"""

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values."""
        return {**asdict(self), "curve": [list(point) for point in self.curve]}


def prequential_figures(
    filter: str,
    feedback: str,
    found: Replay,
    is_positive: NDArray[np.bool_],
    *,
    threshold: float,
    resamples: int = RESAMPLES,
    seed: int = 42,
) -> PrequentialFigures:
    """Compute the metrics; `is_positive` (N,). A score of at least `threshold` means positive.

    Raises:
        DataError: lengths differ, or there are no messages.
    """
    truth = np.asarray(is_positive, dtype=bool)
    if truth.shape != found.scores.shape or not len(truth):
        raise DataError(
            "expected at least one message and one label per message, got labels of shape "
            f"{truth.shape} and scores of shape {found.scores.shape}"
        )
    flagged = found.scores >= threshold
    lost, ham = int((flagged & ~truth).sum()), int((~truth).sum())
    missed, spam = int((~flagged & truth).sum()), int(truth.sum())
    both = ham > 0 and spam > 0
    draws = (
        roc_auc_resampled(found.scores[truth], found.scores[~truth], resamples, seed)
        if both
        else None
    )
    return PrequentialFigures(
        filter=filter,
        feedback=feedback,
        messages=len(truth),
        labels=found.labels,
        steps=found.steps,
        threshold=threshold,
        ham_misclassification=100 * lost / ham if ham else None,
        ham_misclassification_ci95=[100 * end for end in wilson(lost, ham)] if ham else None,
        spam_misclassification=100 * missed / spam if spam else None,
        spam_misclassification_ci95=[100 * end for end in wilson(missed, spam)] if spam else None,
        lam=logistic_average(lost, ham, missed, spam) if both else None,
        one_minus_roca=100 * (1 - roc_auc(found.scores[truth], found.scores[~truth]))
        if both
        else None,
        one_minus_roca_ci95=None
        if draws is None
        else [100 * (1 - float(end)) for end in np.percentile(draws, [97.5, 2.5])],
        curve=learning_curve(found.scores, truth),
    )


def logistic_average(lost: int, ham: int, missed: int, spam: int) -> float:
    """The percentage whose log-odds are the mean of the log-odds of both error rates. Half a
    message is added to each count.
    """
    odds = [(wrong + 0.5) / (rows - wrong + 0.5) for wrong, rows in ((lost, ham), (missed, spam))]
    mean = float(np.sqrt(odds[0] * odds[1]))
    return 100 * mean / (1 + mean)


def roc_auc(positives: Floats, negatives: Floats) -> float:
    """Area under the ROC curve: the fraction of pairs in which the positive has the higher score;
    ties count one half.
    """
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left") + np.searchsorted(
        ordered, positives, side="right"
    )
    return float(below.mean() / (2 * len(ordered)))


def roc_auc_resampled(positives: Floats, negatives: Floats, resamples: int, seed: int) -> Floats:
    """(resamples,) area under the ROC curve of bootstrap samples within each class."""
    generator = np.random.default_rng(seed)
    ordered, ham, spam = np.sort(negatives), len(negatives), len(positives)
    low, high = (
        np.searchsorted(ordered, positives, side="left"),
        np.searchsorted(ordered, positives, side="right"),
    )
    found: list[Floats] = []
    step = max(1, BLOCK_ELEMENTS // (ham + spam))
    for begin in range(0, resamples, step):
        count = min(step, resamples - begin)
        drawn = _counts(generator, count, ham)
        before = np.concatenate(
            [np.zeros((count, 1)), np.cumsum(drawn, axis=1)], axis=1
        )  # (B, ham + 1)
        below = (before[:, low] + before[:, high]) / 2
        found.append((below * _counts(generator, count, spam)).sum(1) / (ham * spam))
    return np.concatenate(found)


def _counts(generator: np.random.Generator, draws: int, size: int) -> Floats:
    """(draws, size) number of times that each of `size` rows is drawn."""
    drawn = generator.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return (
        np.bincount(drawn.ravel(), minlength=draws * size).reshape(draws, size).astype(np.float64)
    )


def learning_curve(
    scores: Floats, is_positive: NDArray[np.bool_], points: int = CURVE_POINTS
) -> list[tuple[int, float]]:
    """Number of messages so far and 1-ROCA% of these, once both classes have occurred."""
    if is_positive.all() or not is_positive.any():
        return []
    first = max(int(is_positive.argmax()), int((~is_positive).argmax())) + 1
    ends = np.unique(np.linspace(first, len(scores), points).round().astype(int))
    return [
        (
            end,
            100 * (1 - roc_auc(scores[:end][is_positive[:end]], scores[:end][~is_positive[:end]])),
        )
        for end in ends.tolist()
    ]


def prequential_rows(results: Sequence[PrequentialFigures]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table with one row per filter and kind of feedback."""

    def shown(value: float | None, interval: Sequence[float] | None = None) -> str:
        if value is None:
            return "-"
        return f"{value:.2f}" + (f" {interval[0]:.2f} to {interval[1]:.2f}" if interval else "")

    header = [
        "filter",
        "feedback",
        "labels",
        "ham misclassified %",
        "spam misclassified %",
        "LAM %",
        "1-ROCA %",
    ]
    rows = [
        [
            result.filter,
            result.feedback,
            f"{result.labels:,}",
            shown(result.ham_misclassification, result.ham_misclassification_ci95),
            shown(result.spam_misclassification, result.spam_misclassification_ci95),
            shown(result.lam),
            shown(result.one_minus_roca, result.one_minus_roca_ci95),
        ]
        for result in results
    ]
    return header, rows
