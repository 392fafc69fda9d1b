"""What is compared: tamis on a backbone, TF-IDF with logistic regression, and frozen MiniLM with logistic regression.

Each method fits on a task's training rows and gives probabilities of its test rows, classes in sorted order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.nano.tasks import Task
from tamis.classifier import TextClassifier
from tamis.evaluation.baselines import fit_baselines
from tamis.tuning.features import StateStore

Probabilities = NDArray[np.float64]
Method = Callable[[Task], Probabilities]


def tfidf(task: Task) -> Probabilities:
    """TF-IDF of words and characters, logistic regression: the baseline of every report."""
    return fit_baselines(task.train_texts, task.train_labels, task.test_texts, sorted(set(task.train_labels)))["tfidf"].probabilities


def tamis(backbone: str, tune: str, settings: dict[str, Any] | None = None, store: Path | None = None) -> Method:
    """A tamis classifier; `store` keeps the states of a frozen trunk between tasks."""

    def run(task: Task) -> Probabilities:
        classifier = TextClassifier(backbone, tune, seed=42 + task.seed, positive=task.positive, settings=settings)
        classifier.fit(task.train_texts, task.train_labels, also=task.test_texts, store=StateStore(store))
        return classifier.predict_proba(task.test_texts)

    return run


def minilm(folder: Path) -> Method:
    """Frozen sentence embeddings (mean pooling, length one) and the same logistic regression as the exact head, penalty out of fold."""
    embed = _embedder(folder)

    def run(task: Task) -> Probabilities:
        from scipy.special import softmax

        from tamis.data.normalise import exact_groups, repeat_key
        from tamis.tuning.head import fit_head

        classes = sorted(set(task.train_labels))
        targets = np.array([classes.index(label) for label in task.train_labels])
        groups = exact_groups(map(repeat_key, task.train_texts))
        head = fit_head(embed(task.train_texts), targets, np.ones(len(classes)), groups=groups)
        return np.asarray(softmax(embed(task.test_texts) @ head.weight.T + head.bias, axis=1))

    return run


@cache
def _embedder(folder: Path) -> Callable[[list[str]], NDArray[np.float64]]:
    from tamis.pretraining.teacher import Teacher, TeacherStore

    store = TeacherStore(Teacher(folder))
    return lambda texts: store.of(texts).astype(np.float64)
