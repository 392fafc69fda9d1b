"""Suggest messages to label next for a run: those that the run already has labels for are omitted.

classifier/active_learning.py chooses; this module knows which texts of a run are labelled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tamis.classifier.active_learning import CLUSTERS, QueryStrategy, Suggested, choose_messages
from tamis.classifier.text_classifier import TextClassifier
from tamis.classifier.training_features import read_training_rows, text_keys
from tamis.data.files.message_reader import Message
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.progress import Progress
from tamis.workflows.run_folder import PREDICTIONS


def suggest(
    classifier: TextClassifier,
    messages: Iterable[Message],
    count: int,
    *,
    run: Path | None = None,
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
        strategy: how the messages are chosen.
        cache: stores features between calls.
        progress: receives progress updates.

    Raises:
        ConfigError: `count` is below 1, or the strategy is unknown.
        DataError: there are no messages, or all of them are labelled.
    """
    labelled = labelled_keys(run) if run is not None else set()
    return choose_messages(
        classifier,
        messages,
        count,
        labelled=labelled,
        strategy=strategy,
        cache=cache,
        progress=progress,
    )


def labelled_keys(run: Path) -> set[bytes]:
    """Return the SHA-256 of all labelled texts of a run: training rows, and rows on which it was
    evaluated.
    """
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
