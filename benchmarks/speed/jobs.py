"""The tamis side of each comparison, through public functions."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.shared import Rows
from tamis.classifier.text_classifier import TextClassifier
from tamis.decision.calibration import softmax
from tamis.evaluation.metrics import figures
from tamis.gpt2.feature_cache import FeatureCache
from tamis.head.refit import head_of
from tamis.training.callbacks import Callbacks


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
        callbacks = Callbacks(cache=FeatureCache(Path(cold)))
        classifier.fit(rows.train_texts, labels, callbacks=callbacks)
        features = classifier.training_.features
        assert features is not None  # the training rows as the head's input
        for probabilities, truth in (
            (softmax(head_of(classifier.predictor_.model).logits(features)), rows.train_labels),
            (classifier.predict_proba(rows.test_texts), rows.test_labels),
        ):
            names = np.array(["ham", "spam"])[truth].tolist()
            figures(names, probabilities, ["ham", "spam"], positive="spam", threshold=None)
    return time.perf_counter() - begun


def by_command(folder: Path, rows: Rows, *, threads: int) -> float:
    """Return the seconds of the TP2 job as a user starts it, seen from outside: `tamis train` in a
    process of its own, from a cold cache, with start-up, baselines, plots and report.

    Raises:
        RuntimeError: the command failed; the message is what it said.
    """
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        for name, texts, labels in (
            ("train", rows.train_texts, rows.train_labels),
            ("test", rows.test_texts, rows.test_labels),
        ):
            with (place / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file)
                table.writerow(["label", "text"])
                names = np.array(["ham", "spam"])[labels].tolist()
                table.writerows(zip(names, texts, strict=True))
        command = [sys.executable, "-m", "tamis", "train", str(place / "train.csv")]
        command += ["--test", str(place / "test.csv"), "--backbone", str(folder.resolve())]
        command += ["--tune", "head", "--threads", str(threads), "-o", str(place / "run")]
        begun = time.perf_counter()
        done = subprocess.run(
            command,
            env={**os.environ, "TAMIS_CACHE": str(place / "cache")},
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - begun
        if done.returncode or not (place / "run" / "report.html").is_file():
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return seconds


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
    callbacks = Callbacks(on_resolved=lambda _: begun.append(time.perf_counter()))
    classifier.fit(rows.train_texts, labels, validation=np.arange(0), callbacks=callbacks)
    return time.perf_counter() - begun[0]
