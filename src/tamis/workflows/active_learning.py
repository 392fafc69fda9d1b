"""Suggest messages to label next for a run: those that the run already has labels for are omitted.

classifier/active_learning.py chooses them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tamis.classifier.active_learning import CLUSTERS, QueryStrategy, Suggested, choose_messages
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import labelled_keys, text_keys
from tamis.data.files.message_reader import Message
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.progress import Progress


def suggest(
    classifier: TextClassifier,
    messages: Iterable[Message],
    count: int,
    *,
    run: Path | None = None,
    corrected: Iterable[str] = (),
    strategy: QueryStrategy = CLUSTERS,
    cache: FeatureCache = NO_CACHE,
    progress: Progress | None = None,
) -> Suggested:
    """Choose the messages to label next.

    Args:
        classifier: a trained classifier.
        messages: unlabelled messages; read once.
        count: number of messages to suggest.
        run: run folder of the model, or its model folder; texts labelled there are omitted.
        corrected: texts whose labels the model has learned as corrections; omitted, too.
        strategy: how the messages are chosen.
        cache: stores features between calls.
        progress: receives progress updates.

    Raises:
        ConfigError: `count` is below 1, or the strategy is unknown.
        DataError: there are no messages, or all of them are labelled.
    """
    labelled = labelled_keys(run) if run is not None else set()
    known = list(corrected)
    labelled |= {key.tobytes() for key in text_keys(known)} if known else set()
    return choose_messages(
        classifier,
        messages,
        count,
        labelled=labelled,
        strategy=strategy,
        cache=cache,
        progress=progress,
    )
