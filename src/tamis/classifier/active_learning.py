"""Active learning: choose the messages to label next from a file or stream of unlabelled messages.

One pass of the trunk gives features and probabilities; only the most uncertain texts are kept in
memory. Texts that are already labelled are omitted. Of near-duplicates, one is suggested.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.predictor import Predictor
from tamis.classifier.query_strategies import (
    STRATEGIES,
    Strategy,
    centred,
    select,
    uncertainty,
)
from tamis.classifier.training_features import labelled_keys, text_keys
from tamis.data.deduplication import near_repeat_groups
from tamis.data.files.message_reader import Message
from tamis.decision.calibration import softmax
from tamis.decision.verdict import DecisionRule
from tamis.errors import ConfigError, DataError
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.progress import Progress


class ScoringClassifier(Protocol):
    """A fitted classifier of K classes; `TextClassifier` is one."""

    classes_: NDArray[Any]
    rule_: DecisionRule
    predictor_: Predictor


BATCH = 4096
"""Number of texts per pass through the trunk. The features of each batch are cached, so that a
second call resumes."""
HELD = 20_000
"""Maximum number of texts kept in memory with their features: the most uncertain ones."""


@dataclass(frozen=True)
class Suggestion:
    """A message to label."""

    line: int
    """1-based, in the file or stream"""
    text: str
    label: str
    """the label that the model predicts"""
    probabilities: dict[str, float]
    uncertainty: float
    """in [0, 1]; 1 at the decision boundary"""
    columns: dict[str, Any] = field(default_factory=dict, compare=False)
    """columns of the input row"""

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, without the columns of the input row."""
        return {name: value for name, value in asdict(self).items() if name != "columns"}


@dataclass(frozen=True)
class Suggested:
    """The suggestions, the most useful first, and counts."""

    suggestions: tuple[Suggestion, ...]
    seen: int
    """number of messages read"""
    labelled: int
    """of these, already labelled"""
    repeated: int
    """of these, empty or near-duplicates of another message"""
    strategy: str

    @property
    def texts(self) -> list[str]:
        """The suggested texts, the most useful first."""
        return [one.text for one in self.suggestions]

    def __iter__(self) -> Iterator[Suggestion]:
        """Iterate over the suggestions, the most useful first."""
        return iter(self.suggestions)

    def __len__(self) -> int:
        """Return the number of suggestions."""
        return len(self.suggestions)

    def _repr_html_(self) -> str:
        """Return the suggestions for a notebook."""
        from tamis.classifier.notebook_html import suggestions_html

        return suggestions_html(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values."""
        return {**asdict(self), "suggestions": [one.to_dict() for one in self.suggestions]}


@dataclass
class _Candidates:
    """Texts with their features, probabilities and uncertainties."""

    messages: list[Message]
    features: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    uncertainties: NDArray[np.float64]

    def merged(self, other: _Candidates) -> _Candidates:
        """Merge both and keep the `HELD` most uncertain texts, in input order."""
        messages = self.messages + other.messages
        arrays = [
            np.concatenate([a, b])
            for a, b in (
                (self.features, other.features),
                (self.probabilities, other.probabilities),
                (self.uncertainties, other.uncertainties),
            )
        ]
        keep = np.sort(np.argsort(-arrays[2], kind="stable")[:HELD])
        return _Candidates([messages[i] for i in keep.tolist()], *(array[keep] for array in arrays))

    def of(self, rows: NDArray[np.int64]) -> _Candidates:
        """Select rows."""
        return _Candidates(
            [self.messages[i] for i in rows.tolist()],
            self.features[rows],
            self.probabilities[rows],
            self.uncertainties[rows],
        )


@dataclass(frozen=True)
class QueryStrategy:
    """How messages are chosen from the uncertain ones."""

    name: Strategy
    """one of `query_strategies.STRATEGIES`"""
    seed: int = 42
    """seed of random draws"""


CLUSTERS = QueryStrategy("clusters")


def choose_messages(
    classifier: ScoringClassifier,
    messages: Iterable[Message],
    count: int,
    *,
    labelled: Set[bytes] = frozenset(),
    strategy: QueryStrategy = CLUSTERS,
    cache: FeatureCache = NO_CACHE,
    progress: Progress | None = None,
) -> Suggested:
    """Choose the messages to label next.

    Args:
        classifier: a trained classifier.
        messages: unlabelled messages; read once.
        count: number of messages to suggest.
        labelled: SHA-256 of texts that are already labelled (`text_keys`); they are omitted.
        strategy: how the messages are chosen.
        cache: stores features between calls.
        progress: receives progress updates.

    Raises:
        ConfigError: `count` is below 1, the strategy is unknown, or the model gives a text several
            labels.
        DataError: there are no messages, or all of them are labelled.
    """
    if count < 1:
        raise ConfigError(f"-n: expected at least 1 message, got {count}")
    classifier.rule_.require_one_label("a suggestion of texts to label")
    if strategy.name not in STRATEGIES:
        choices = ", ".join(STRATEGIES)
        raise ConfigError(f"strategy: expected one of {choices}, got {strategy.name!r}")
    held: _Candidates | None = None
    seen, done, repeated = 0, 0, 0
    came: set[bytes] = set()
    for batch in _batches(messages):
        seen += len(batch)
        keys = [key.tobytes() for key in text_keys([message.text for message in batch])]
        fresh: list[Message] = []
        for message, key in zip(batch, keys, strict=True):
            if key in labelled:
                done += 1
            elif key in came or not message.text.strip():
                repeated += 1
            else:
                came.add(key)
                fresh.append(message)
        if fresh:
            found = _scored(classifier, fresh, cache, progress)
            held = found if held is None else held.merged(found)
    if held is None:
        raise DataError(_nothing(seen, done))
    # Keep the most uncertain text of each group of near-duplicates; the first one in case of ties.
    order = np.argsort(-held.uncertainties, kind="stable")
    groups = near_repeat_groups([message.text for message in held.messages])
    once = np.sort(order[np.unique(groups[order], return_index=True)[1]])
    repeated += len(held.messages) - len(once)
    distinct = held.of(once)
    names = [str(c) for c in classifier.classes_]
    rows = select(
        distinct.features.astype(np.float64),
        _even(classifier, distinct.probabilities),
        count,
        strategy=strategy.name,
        seed=strategy.seed,
    )
    chosen = distinct.of(rows)
    labels = classifier.rule_.labels(chosen.probabilities, names)
    suggestions = tuple(
        Suggestion(
            m.line,
            m.text,
            names[k],
            dict(zip(names, p.tolist(), strict=True)),
            float(d),
            dict(m.columns),
        )
        for m, k, p, d in zip(
            chosen.messages, labels, chosen.probabilities, chosen.uncertainties, strict=True
        )
    )
    return Suggested(suggestions, seen, done, repeated, strategy.name)


def choose_texts(
    classifier: ScoringClassifier,
    texts: Iterable[str],
    count: int,
    *,
    labelled: Iterable[str] = (),
    run: Path | None = None,
    strategy: QueryStrategy = CLUSTERS,
    progress: Progress | None = None,
) -> Suggested:
    """Choose the texts to label next; as `choose_messages`, `labelled` being texts. Those that are
    labelled in the run or model folder `run` are omitted, too.
    """
    messages = (Message(text, {}, number) for number, text in enumerate(texts, 1))
    known = {key.tobytes() for key in text_keys(list(labelled))}
    known |= labelled_keys(run) if run is not None else set()
    return choose_messages(
        classifier, messages, count, labelled=known, strategy=strategy, progress=progress
    )


def _scored(
    classifier: ScoringClassifier,
    batch: list[Message],
    cache: FeatureCache,
    progress: Progress | None,
) -> _Candidates:
    features, logits = classifier.predictor_.embed_and_score(
        [message.text for message in batch], cache=cache, progress=progress
    )
    probabilities = softmax(logits)
    return _Candidates(
        batch, features, probabilities, uncertainty(_even(classifier, probabilities))
    )


def _even(classifier: ScoringClassifier, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift probabilities so that the decision boundary is at 0.5."""
    rule = classifier.rule_
    if (
        rule.positive is None
        or rule.threshold is None
        or not 0.0 < rule.threshold < 1.0
        or probabilities.shape[1] != 2
    ):
        return probabilities
    return centred(
        probabilities, [str(c) for c in classifier.classes_].index(rule.positive), rule.threshold
    )


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    source = iter(messages)
    while batch := list(islice(source, BATCH)):
        yield batch


def _nothing(seen: int, labelled: int) -> str:
    if not seen:
        return (
            "expected unlabelled messages, got none; give a file with one text per line, a table "
            "or a mailbox"
        )
    return (
        f"of {seen:,} messages, {labelled:,} are already labelled in this run and "
        f"{seen - labelled:,} are empty; give new messages"
    )
