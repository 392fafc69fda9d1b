"""Baselines: the majority class, and TF-IDF with logistic regression.

This module defines their settings and computes the out-of-fold probabilities for label issues;
metrics.py evaluates them. Source: word and character n-grams are a common strong baseline for short
texts (Wang & Manning 2012).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.labels import label_order
from tamis.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """Probabilities (N, K) of a fitted baseline on the test rows, and the seconds for fitting and
    scoring.
    """

    name: str
    probabilities: Floats
    seconds: float


def majority(train_labels: Sequence[str], rows: int, classes: Sequence[str]) -> Floats:
    """Probabilities (rows, K) of the majority baseline: the share of each class in the training
    rows, the same for all texts.

    Raises:
        DataError: there are no training rows, or a label is not one of `classes`.
    """
    counts = np.bincount(_indices(train_labels, classes), minlength=len(classes))
    return np.tile(counts / counts.sum(), (rows, 1))


def tfidf_model() -> Pipeline:
    """An unfitted Pipeline: TF-IDF of word n-grams (1-2) and character n-grams (2-5), then logistic
    regression with balanced classes and C = 30.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion, Pipeline

    # A word is everything between spaces, so that prices, links and short codes are words. Only
    # the character n-grams keep upper case.
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), lowercase=False, min_df=2, sublinear_tf=True
    )
    # lbfgs needs a few dozen iterations; the high limit avoids a warning for unusual tables.
    regression = LogisticRegression(C=30, class_weight="balanced", max_iter=10_000)
    return Pipeline(
        [
            ("features", FeatureUnion([("words", words), ("characters", characters)])),
            ("regression", regression),
        ]
    )


def fit_baselines(
    train_texts: Sequence[str],
    train_labels: Sequence[str],
    test_texts: Sequence[str],
    classes: Sequence[str],
) -> dict[str, Baseline]:
    """Fit both baselines on the training rows (including validation rows) and apply them to the
    test rows.

    Returns `majority` and `tfidf`, each with probabilities (N, K) in the order of `classes`. A
    class without training rows gets probability 0. If the training texts are empty or have only one
    class, TF-IDF gives the probabilities of the majority baseline.

    Raises:
        DataError: there are no training rows, lengths differ, or a label is not one of `classes`.
    """
    _check_lengths(train_texts, train_labels)
    started = time.perf_counter()
    shares = majority(train_labels, len(test_texts), classes)
    middle = time.perf_counter()
    learned = _fit_predict(train_texts, train_labels, test_texts, classes)
    ended = time.perf_counter()
    return {
        "majority": Baseline("majority", shares, middle - started),
        "tfidf": Baseline("tfidf", learned, ended - middle),
    }


def out_of_fold(
    texts: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[Any],
    *,
    folds: int = 5,
    seed: int = 42,
) -> Floats:
    """Out-of-fold TF-IDF probabilities of all rows, used to find label issues.

    `groups` (N,): rows of one group (duplicates of a text) are in the same fold. Returns (N, K),
    columns in sorted class order. Folds are stratified as far as the groups allow. A class that
    occurs in only one fold has probability 0 there. With fewer than two groups, nothing can be held
    out and all rows get the class shares.

    Raises:
        DataError: there are no rows, or lengths differ.
        ConfigError: `folds` is below 2.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if folds < 2:
        raise ConfigError(f"folds: expected at least 2, got {folds}")
    _check_lengths(texts, labels)
    if len(groups) != len(labels):
        raise DataError(
            f"expected one group per row, got {len(labels)} rows and {len(groups)} groups"
        )
    classes = label_order(labels)
    truth = _indices(labels, classes)
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    # scikit-learn rejects more folds than rows of the most frequent class; each fold needs a group.
    folds = min(folds, int(np.bincount(truth).max()), int(group.max()) + 1)
    probabilities = majority(labels, len(labels), classes)
    if folds < 2:
        return probabilities
    with warnings.catch_warnings():
        # "The least populated class has only n members": see the docstring.
        warnings.filterwarnings("ignore", category=UserWarning, module="sklearn.model_selection")
        parts = list(
            StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(truth, truth, group)
        )
    for rest, held_out in parts:
        if len(held_out) and len(rest):
            probabilities[held_out] = _fit_predict(
                [texts[i] for i in rest],
                [labels[i] for i in rest],
                [texts[i] for i in held_out],
                classes,
            )
    return probabilities


def _fit_predict(
    train_texts: Sequence[str],
    train_labels: Sequence[str],
    test_texts: Sequence[str],
    classes: Sequence[str],
) -> Floats:
    shares = majority(train_labels, len(test_texts), classes)
    if (
        not len(test_texts)
        or len(set(train_labels)) < 2
        or not any(text.strip() for text in train_texts)
    ):
        return shares
    model = tfidf_model()
    try:
        model.fit(list(train_texts), list(train_labels))
    except (
        ValueError
    ):  # a few short texts may have no n-gram in common: keep n-grams that occur once
        model.set_params(features__characters__min_df=1).fit(list(train_texts), list(train_labels))
    probabilities = np.zeros((len(test_texts), len(classes)))
    columns = [list(classes).index(name) for name in model.classes_]
    probabilities[:, columns] = model.predict_proba(list(test_texts))
    return probabilities


def _indices(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    index = {name: position for position, name in enumerate(classes)}
    if not len(labels):
        raise DataError("a baseline needs at least one training row, got none")
    for row, label in enumerate(labels):
        if label not in index:
            raise DataError(f"training row {row}: label {label!r} is not one of {list(classes)}")
    return np.array([index[label] for label in labels], dtype=np.int64)


def _check_lengths(texts: Sequence[str], labels: Sequence[str]) -> None:
    if len(texts) != len(labels):
        raise DataError(
            f"expected one label per text, got {len(texts)} texts and {len(labels)} labels"
        )
