"""The compared methods: majority, TF-IDF and frozen MiniLM with logistic regression, fine-tuned
MiniLM, SetFit, and tamis with every tuning depth.

Each method fits on a task's training rows and returns probabilities of its test rows (classes in
sorted order) and the times of both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.tasks import Task
from tamis.classifier.text_classifier import TextClassifier
from tamis.evaluation.baselines import majority as shares
from tamis.evaluation.baselines import tfidf_model

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Predictions for a task's test rows."""

    probabilities: Probabilities
    """(N, K)"""
    fit_s: float
    """seconds of the fit, including all its choices"""
    test_s: float
    """seconds for the test rows"""
    labels: list[str] | None = None
    """(N,) labels of a method that chooses its own threshold; None: the most probable labels"""


Method = Callable[[Task], Judged]


def _timed(task: Task, fit: Callable[[], Callable[[list[str]], Probabilities]]) -> Judged:
    begun = time.perf_counter()
    probabilities_of = fit()
    fitted = time.perf_counter()
    found = probabilities_of(task.test_texts)
    return Judged(found, fitted - begun, time.perf_counter() - fitted)


def majority(task: Task) -> Judged:
    """Predict the most frequent class of the training rows."""
    return _timed(
        task,
        lambda: lambda texts: shares(task.train_labels, len(texts), sorted(set(task.train_labels))),
    )


def tfidf(task: Task) -> Judged:
    """TF-IDF of words and characters with logistic regression: the baseline of every report."""
    return _timed(
        task, lambda: tfidf_model().fit(task.train_texts, task.train_labels).predict_proba
    )


def tfidf_threshold(task: Task) -> Judged:
    """The same with the threshold of the best F1 for two classes (without a positive class, of the
    best macro F1), chosen on out-of-fold probabilities as in tamis.
    """
    from sklearn.model_selection import cross_val_predict

    from tamis.data.splits import positive_label
    from tamis.decision.fit_rule import LEVEL_ROWS, LEVEL_SHARE
    from tamis.decision.macro_f1 import macro_f1_threshold
    from tamis.decision.thresholds import choose_threshold

    found = tfidf(task)
    begun = time.perf_counter()
    classes = sorted(set(task.train_labels))
    if len(classes) != 2:
        return found
    positive = task.positive or positive_label(task.train_labels)
    place = classes.index(positive)
    held_out = cross_val_predict(
        tfidf_model(), task.train_texts, task.train_labels, cv=5, method="predict_proba"
    )[:, place]
    is_positive = np.array(task.train_labels) == positive
    chosen = (
        macro_f1_threshold(held_out, is_positive, level_rows=LEVEL_ROWS, level_share=LEVEL_SHARE)
        if task.positive is None
        else choose_threshold(
            held_out, is_positive, max_fpr=None, level_rows=LEVEL_ROWS, level_share=LEVEL_SHARE
        )
    )
    cut = chosen.value
    labels = [classes[place if row[place] >= cut else 1 - place] for row in found.probabilities]
    return replace(found, labels=labels, fit_s=found.fit_s + time.perf_counter() - begun)


def tamis(backbone: str, tune: str, settings: dict[str, Any] | None = None) -> Method:
    """A tamis classifier; nothing is cached between tasks."""

    def run(task: Task) -> Judged:
        classifier = TextClassifier(
            backbone, tune, seed=42 + task.seed, positive=task.positive, settings=settings
        )
        found = _timed(
            task, lambda: classifier.fit(task.train_texts, task.train_labels).predict_proba
        )
        classes = [str(name) for name in classifier.classes_]
        return replace(
            found,
            labels=[classes[i] for i in classifier.rule_.labels(found.probabilities, classes)],
        )

    return run


def minilm(folder: Path) -> Method:
    """Frozen sentence embeddings (mean pooling, unit length) with the logistic regression of
    tamis's linear probe, penalty chosen out of fold.
    """

    def run(task: Task) -> Judged:
        from scipy.special import softmax

        from tamis.data.deduplication import exact_groups, repeat_key
        from tamis.head.linear_head import HeadRows, fit_head

        embed = _embedder(folder)

        def fit() -> Callable[[list[str]], Probabilities]:
            classes = sorted(set(task.train_labels))
            targets = np.array([classes.index(label) for label in task.train_labels])
            groups = exact_groups(map(repeat_key, task.train_texts))
            head = fit_head(
                HeadRows(embed(task.train_texts), targets, np.ones(len(classes)), groups)
            )
            return lambda texts: np.asarray(
                softmax(embed(texts) @ head.weight.T + head.bias, axis=1)
            )

        return _timed(task, fit)

    return run


def _fine_tuned(kind: Callable[[], Callable[[Path, int], Any]], folder: Path) -> Method:
    """A rival class with `fit` and `predict_proba`, which `kind` imports when it is asked for."""

    def run(task: Task) -> Judged:
        rival = kind()
        return _timed(
            task,
            lambda: (
                rival(folder, 42 + task.seed).fit(task.train_texts, task.train_labels).predict_proba
            ),
        )

    return run


def minilm_full(folder: Path) -> Method:
    """The same encoder with a linear layer, everything trained."""

    def kind() -> Callable[[Path, int], Any]:
        from benchmarks.quality.rival_minilm import FineTunedEncoder

        return FineTunedEncoder

    return _fine_tuned(kind, folder)


def setfit(folder: Path) -> Method:
    """SetFit with the same encoder."""

    def kind() -> Callable[[Path, int], Any]:
        from benchmarks.quality.rival_setfit import SetFit

        return SetFit

    return _fine_tuned(kind, folder)


@cache
def _embedder(folder: Path) -> Callable[[list[str]], Probabilities]:
    from tamis.training.pretraining.teacher import Teacher

    teacher = Teacher(folder)
    return lambda texts: np.asarray(teacher.embed(texts), dtype=np.float64)


def named(
    text: str, teacher: Path | None, settings: dict[str, Any]
) -> tuple[str, str, str, Method]:
    """Parse NAME (a rival) or NAME=BACKBONE@TUNE (tamis) into (name, backbone, tune, method).

    The tune of `minilm-full` is "full" too, so that it gets several seeds.

    Raises:
        ValueError: there is no such rival, or `minilm`, `minilm-full` or `setfit` without their
            folder.
    """
    name, _, what = text.partition("=")
    if what:
        backbone, _, tune = what.rpartition("@")
        return name, backbone, tune, tamis(backbone, tune, settings)
    encoders = {"minilm": minilm, "minilm-full": minilm_full, "setfit": setfit}
    if name in encoders and teacher is not None:
        return name, "", "full" if name == "minilm-full" else "", encoders[name](teacher)
    rivals: dict[str, Method] = {
        "majority": majority,
        "tfidf": tfidf,
        "tfidf-threshold": tfidf_threshold,
    }
    if name not in rivals:
        raise ValueError(
            f"--method {text}: expected {', '.join(rivals)}, minilm, minilm-full or setfit (with "
            "--teacher FOLDER) or NAME=BACKBONE@TUNE"
        )
    return name, "", "", rivals[name]
