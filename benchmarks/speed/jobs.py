"""The tamis side of each comparison, through public functions."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.shared import Rows
from tamis.classifier.text_classifier import TextClassifier
from tamis.evaluation.metrics import figures
from tamis.gpt2.feature_cache import FeatureCache


def whole_job(
    folder: Path,
    rows: Rows,
    *,
    position: str = "auto",
    dtype: str = "fp32",
    threads: int | None = None,
) -> float:
    """Return the seconds of the TP2 job from a cold cache: fit, then figures of the training and
    the test rows.
    """
    labels = ["spam" if label else "ham" for label in rows.train_labels]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as cold:
        classifier = TextClassifier(
            str(folder), "head", dtype=dtype, threads=threads, settings={"text.pooling": position}
        )
        classifier.fit(
            rows.train_texts, labels, also=rows.test_texts, cache=FeatureCache(Path(cold))
        )
        for texts, truth in (
            (rows.train_texts, rows.train_labels),
            (rows.test_texts, rows.test_labels),
        ):
            probabilities = classifier.predict_proba(texts)
            names = np.array(["ham", "spam"])[truth].tolist()
            figures(names, probabilities, ["ham", "spam"], positive="spam", threshold=None)
    return time.perf_counter() - begun


def train(
    folder: Path,
    rows: Rows,
    how: str,
    *,
    epochs: int,
    settings: dict[str, Any] | None = None,
    dtype: str = "fp32",
) -> float:
    """Return the seconds of training as `how` says, without loading and tokenizing: what
    `Trainer.train()` does.
    """
    labels = ["spam" if label else "ham" for label in rows.train_labels]
    begun: list[float] = []
    classifier = TextClassifier(
        str(folder),
        how,
        dtype=dtype,
        settings={"train.epochs": epochs, "train.patience": 0, **(settings or {})},
    )
    classifier.on_resolved = lambda _: begun.append(time.perf_counter())
    classifier.fit(rows.train_texts, labels, validation=np.arange(0))
    return time.perf_counter() - begun[0]
