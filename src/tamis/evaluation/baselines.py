"""The rules every model has to beat: the majority, and TF-IDF with logistic regression.

Owns their settings and the out-of-fold probabilities that the audit of labels uses; judging them
belongs to metrics.py. Source: the word and character n-grams are the usual strong baseline for
short texts (Wang & Manning 2012).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline's `probabilities` (N, K) on the test rows, and the `seconds` that fitting
    and scoring took.
    """

    name: str
    probabilities: Floats
    seconds: float


def majority(train_labels: Sequence[str], rows: int, classes: Sequence[str]) -> Floats:
    """The majority rule's probabilities (rows, K): each class's share of the training rows, the
    same for every text.

    Raises:
        DataError: no training rows, or a label that is not one of `classes`.
    """
    counts = np.bincount(_indices(train_labels, classes), minlength=len(classes))
    return np.tile(counts / counts.sum(), (rows, 1))


def tfidf_model() -> Pipeline:
    """TF-IDF of words 1-2 and characters 2-5, then balanced logistic regression with C = 30: an
    unfitted Pipeline.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion, Pipeline

    # Everything between spaces is a word, so prices, links and short codes count; case is kept in
    # the characters alone.
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), lowercase=False, min_df=2, sublinear_tf=True
    )
    # lbfgs needs a few dozen steps here; the limit is only there so that odd tables never end in a
    # warning.
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
    """Both baselines fitted on the training rows (validation rows belong to them) and applied to
    the test rows.

    Returns `majority` and `tfidf`, each with probabilities (N, K) in the order of `classes`. A
    class without training rows gets probability 0. Where the training texts hold no characters at
    all, or one class only, TF-IDF has nothing to go by and answers as the majority rule does.

    Raises:
        DataError: no training rows, lengths that differ, or a label that is not one of `classes`.
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
    """TF-IDF probabilities of every row, from a model that saw neither the row nor its group: for
    the audit of labels.

    `groups` (N,): rows of one group (repeats of a text) stay on one side. Returns (N, K), columns
    in sorted class order. Folds are stratified as far as the groups allow. A class that lies in one
    fold alone has probability 0 there; with fewer than two groups nothing can be held out and every
    row gets the class shares.

    Raises:
        DataError: no rows, or lengths that differ.
        ConfigError: fewer than 2 folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if folds < 2:
        raise ConfigError(f"out-of-fold scores need at least 2 folds, got {folds}")
    _check_lengths(texts, labels)
    if len(groups) != len(labels):
        raise DataError(f"every row needs a group: {len(labels)} rows, {len(groups)} groups")
    classes = sorted(set(labels))
    truth = _indices(labels, classes)
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    # No more folds than rows of the commonest class: scikit-learn refuses that; and no fold without
    # a group.
    folds = min(folds, int(np.bincount(truth).max()), int(group.max()) + 1)
    probabilities = majority(labels, len(labels), classes)
    if folds < 2:
        return probabilities
    with warnings.catch_warnings():
        # "The least populated class has only n members": known, and answered in the docstring.
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
    ):  # a few short texts may share no characters at all: then keep those that occur once
        model.set_params(features__characters__min_df=1).fit(list(train_texts), list(train_labels))
    probabilities = np.zeros((len(test_texts), len(classes)))
    columns = [list(classes).index(name) for name in model.classes_]
    probabilities[:, columns] = model.predict_proba(list(test_texts))
    return probabilities


def _indices(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    index = {name: position for position, name in enumerate(classes)}
    if not len(labels):
        raise DataError("a baseline needs training rows, got none")
    for row, label in enumerate(labels):
        if label not in index:
            raise DataError(f"training row {row}: label {label!r} is not one of {list(classes)}")
    return np.array([index[label] for label in labels], dtype=np.int64)


def _check_lengths(texts: Sequence[str], labels: Sequence[str]) -> None:
    if len(texts) != len(labels):
        raise DataError(f"every text needs a label: {len(texts)} texts, {len(labels)} labels")
