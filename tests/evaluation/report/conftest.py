"""One small evaluated run, good or collapsed, that the plots and the report are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class Run:
    """Labels, scores and history of a made-up run over 97 messages."""

    labels: list[str]
    texts: list[str]
    probabilities: np.ndarray
    tfidf: np.ndarray
    history: list[dict[str, float]]


def _two(scores: np.ndarray) -> np.ndarray:
    return np.stack([1 - scores, scores], axis=1)


def _run(collapsed: bool) -> Run:
    generator = np.random.default_rng(42)
    truth = np.arange(97) % 7 == 0
    scores = 1 / (1 + np.exp(-np.where(truth, 3, -3) - generator.normal(size=97) * 2))
    other = 1 / (1 + np.exp(-np.where(truth, 3, -3) - generator.normal(size=97) * 3))
    history = [
        {"step": i, "epoch": i / 20, "loss": 1 / (1 + i / 9), "accuracy": min(1, 0.8 + i / 300)}
        for i in range(61)
    ]
    history[30] |= {
        "validation_loss": 0.4,
        "validation_accuracy": 0.9,
        "validation_average_precision": 0.95,
    }
    history[60] |= {
        "validation_loss": 0.3,
        "validation_accuracy": 0.95,
        "validation_average_precision": 0.97,
    }
    return Run(
        labels=["spam" if value else "ham" for value in truth],
        texts=[f"message {i} <script>alert('{i}')</script> & \"more\"" for i in range(97)],
        probabilities=_two(np.full(97, 0.2) if collapsed else scores),
        tfidf=_two(other),
        history=history,
    )


@pytest.fixture(scope="session")
def good_run() -> Run:
    return _run(collapsed=False)


@pytest.fixture(scope="session")
def collapsed_run() -> Run:
    return _run(collapsed=True)
