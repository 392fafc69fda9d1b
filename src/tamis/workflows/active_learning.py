"""Suggest messages to label next for a run: those that the run already has labels for are omitted.

classifier/active_learning.py chooses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from tamis.classifier.active_learning import CLUSTERS, QueryStrategy, Suggested, choose_messages
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import labelled_keys, text_keys
from tamis.data.files.message_reader import Message
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.progress import Progress


def labelled_already(run: Path, corrected: Sequence[str] = ()) -> set[bytes]:
    """Return the keys of the texts with known labels.

    Args:
        run: run folder of the model, or its model folder; the texts labelled there.
        corrected: texts whose labels the model has learned as corrections.
    """
    own = {key.tobytes() for key in text_keys(list(corrected))} if corrected else set()
    return labelled_keys(run) | own


def suggest(
    classifier: TextClassifier,
    messages: Iterable[Message],
    count: int,
    *,
    labelled: AbstractSet[bytes] = frozenset(),
    strategy: QueryStrategy = CLUSTERS,
    cache: FeatureCache = NO_CACHE,
    progress: Progress | None = None,
) -> Suggested:
    """Choose the messages to label next.

    Args:
        classifier: a trained classifier.
        messages: unlabelled messages; read once.
        count: number of messages to suggest.
        labelled: keys of the texts to omit (`labelled_already`).
        strategy: how the messages are chosen.
        cache: stores features between calls.
        progress: receives progress updates.

    Raises:
        ConfigError: `count` is below 1, or the strategy is unknown.
        DataError: there are no messages, or all of them are labelled.
    """
    return choose_messages(
        classifier,
        messages,
        count,
        labelled=labelled,
        strategy=strategy,
        cache=cache,
        progress=progress,
    )
