"""Which messages to label next: those that would teach a trained model most, from a file or stream
of unlabelled ones.

One pass of the trunk gives features and probabilities; only the most doubtful texts are held. What
was labelled for the model already (its training rows by hash, its test and validation rows by text)
is left out, near-repeats are asked for once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import read_training_rows, text_keys
from tamis.data.deduplication import near_repeat_groups
from tamis.data.files.message_reader import Message
from tamis.decision.calibration import softmax
from tamis.errors import ConfigError, DataError
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.head.refit import features_and_logits
from tamis.progress import Progress
from tamis.workflows.query_strategies import STRATEGIES, Strategy, centred, select, uncertainty
from tamis.workflows.run_folder import PREDICTIONS

BATCH = 4096
"""Texts that go through the trunk together; each batch's features are kept by the store on their
own, so a second call goes on."""
HELD = 20_000
"""Texts held with their features, the most doubtful of all that came."""


@dataclass(frozen=True)
class Suggestion:
    """A message worth labelling."""

    line: int
    """1-based, in the file or stream"""
    text: str
    label: str
    """what the model would say now"""
    probabilities: dict[str, float]
    uncertainty: float
    """in [0, 1]: 1 where the label hangs in the balance"""
    columns: dict[str, Any] = field(default_factory=dict, compare=False)
    """the row's own"""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the row's own columns."""
        return {name: value for name, value in asdict(self).items() if name != "columns"}


@dataclass(frozen=True)
class Suggested:
    """The suggestions, the most telling first, and how they were found."""

    suggestions: tuple[Suggestion, ...]
    seen: int
    """messages that came"""
    labelled: int
    """of them, labelled already"""
    repeated: int
    """of them, empty, or near-repeats of another that was looked at"""
    strategy: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "suggestions": [one.to_dict() for one in self.suggestions]}


@dataclass
class _Candidates:
    """Texts that came, with what the model makes of them."""

    messages: list[Message]
    features: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    uncertainties: NDArray[np.float64]

    def merged(self, other: _Candidates) -> _Candidates:
        """Both, the most doubtful `HELD` of them in the order they came."""
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
        """Some of them."""
        return _Candidates(
            [self.messages[i] for i in rows.tolist()],
            self.features[rows],
            self.probabilities[rows],
            self.uncertainties[rows],
        )


def suggest(
    classifier: TextClassifier,
    messages: Iterable[Message],
    count: int,
    *,
    run: Path | None = None,
    strategy: Strategy = "clusters",
    seed: int = 42,
    cache: FeatureCache = NO_CACHE,
    progress: Progress | None = None,
) -> Suggested:
    """The messages whose label would teach most.

    Args:
        classifier: a trained one.
        messages: the unlabelled ones, read once.
        count: how many to suggest.
        run: the model's run folder, or the model folder in it, to leave out what is labelled there.
        strategy: one of `query_strategies.STRATEGIES`.
        seed: of what is drawn.
        cache: keeps features between calls.
        progress: is told what goes on.

    Raises:
        ConfigError: `count` is below 1, or there is no such strategy.
        DataError: no message came, or all of them are labelled.
    """
    if count < 1:
        raise ConfigError(f"-n: expected at least 1 message to suggest, got {count}")
    if strategy not in STRATEGIES:
        raise ConfigError(f"strategy: expected one of {', '.join(STRATEGIES)}, got {strategy!r}")
    known = _labelled(run)
    held: _Candidates | None = None
    seen, labelled, repeated = 0, 0, 0
    came: set[bytes] = set()
    for batch in _batches(messages):
        seen += len(batch)
        keys = [key.tobytes() for key in text_keys([message.text for message in batch])]
        fresh: list[Message] = []
        for message, key in zip(batch, keys, strict=True):
            if key in known:
                labelled += 1
            elif key in came or not message.text.strip():
                repeated += 1
            else:
                came.add(key)
                fresh.append(message)
        if fresh:
            found = _scored(classifier, fresh, cache, progress)
            held = found if held is None else held.merged(found)
    if held is None:
        raise DataError(_nothing(seen, labelled))
    # Of each group of near-repeats the most doubtful one; equal doubts leave the first.
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
        strategy=strategy,
        seed=seed,
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
    return Suggested(suggestions, seen, labelled, repeated, strategy)


def _scored(
    classifier: TextClassifier, batch: list[Message], cache: FeatureCache, progress: Progress | None
) -> _Candidates:
    scorer = classifier.scorer()
    encoded = classifier.encode([message.text for message in batch])
    features, logits = features_and_logits(scorer, encoded, cache=cache, progress=progress)
    probabilities = softmax(logits)
    return _Candidates(
        batch, features, probabilities, uncertainty(_even(classifier, probabilities))
    )


def _even(classifier: TextClassifier, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities with even odds where the label turns."""
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


def _labelled(run: Path | None) -> set[bytes]:
    """SHA-256 of every text that is labelled in a run: its training rows, and the rows it was
    judged on.
    """
    if run is None:
        return set()
    rows = read_training_rows(run)
    known = set() if rows is None else {key.tobytes() for key in rows.keys}
    judged = next(
        (place for place in (run / PREDICTIONS, run.parent / PREDICTIONS) if place.is_file()),
        run / PREDICTIONS,
    )
    if judged.is_file():
        with judged.open(encoding="utf-8") as file:
            texts = [one["text"] for line in file if "text" in (one := json.loads(line))]
        known |= {key.tobytes() for key in text_keys(texts)} if texts else set()
    return known


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    source = iter(messages)
    while batch := list(islice(source, BATCH)):
        yield batch


def _nothing(seen: int, labelled: int) -> str:
    if not seen:
        return (
            "expected unlabelled messages, none came; give a file with a text a line, a table "
            "or a mailbox"
        )
    return (
        f"of {seen:,} messages {labelled:,} are labelled in this run already and the others are "
        "empty; give new ones"
    )
