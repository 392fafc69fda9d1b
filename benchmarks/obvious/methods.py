"""The compared methods. Each is trained on the whole SMS Spam Collection, chooses its threshold on
rows of that collection, and then learns the corrections in the way of `tamis learn`: a correction
counts as one row, and as 2, 4 or 8 rows while its verdict is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.obvious.texts import Text
from tamis.data.tables import Table, read_table

Floats = NDArray[np.float64]
POSITIVE, NEGATIVE = "spam", "ham"
"""The labels of the collection for unwanted and wanted."""


@dataclass(frozen=True)
class Judge:
    """A trained method."""

    probabilities: Callable[[list[str]], Floats]
    """(N,) P(unwanted)"""
    threshold: float
    corrected: Callable[[list[Text]], Judge]
    """The method after learning corrections."""


Method = Callable[[Path, Path], Judge]
"""Trains on a table; the second path is a folder that exists as long as the judge is used."""


def tamis(backbone: str, tune: str, settings: dict[str, Any]) -> Method:
    """A run of tamis, trained on all rows; corrections go through its feedback store."""

    def fit(data: Path, work: Path) -> Judge:
        from tamis.classifier.text_classifier import TextClassifier
        from tamis.config import Recipe
        from tamis.workflows.train import train

        recipe = Recipe().changed(
            {"backbone": backbone, "tune": tune, "data.split": "none", "data.positive": POSITIVE}
            | settings
        )
        run = train(str(data), recipe, work / "run").path
        classifier = TextClassifier.load(run)

        def corrected(items: list[Text]) -> Judge:
            from tamis.feedback.learning import FeedbackLearner
            from tamis.feedback.store import CorrectionStore, NewCorrection

            store = CorrectionStore(work / "corrections.sqlite")
            learner = FeedbackLearner(classifier, run, store, model="run")
            learner.add(
                [NewCorrection(i.text, POSITIVE if i.unwanted else NEGATIVE) for i in items]
            )
            learner.learn()
            store.close()
            return _of(learner.classifier_for(), corrected)

        return _of(classifier, corrected)

    return fit


def _of(classifier: Any, corrected: Callable[[list[Text]], Judge]) -> Judge:
    place = [str(label) for label in classifier.classes_].index(POSITIVE)
    return Judge(
        lambda texts: np.asarray(classifier.predict_proba(texts)[:, place]),
        classifier.rule_.threshold,
        corrected,
    )


def tfidf(data: Path, work: Path) -> Judge:
    """TF-IDF of words and characters with logistic regression, the baseline of every report."""
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_predict

    from tamis.evaluation.baselines import tfidf_model

    rows = read_table(data)
    texts, targets = list(rows.texts), _targets(rows)
    held_out = cross_val_predict(tfidf_model(), texts, targets, cv=5, method="predict_proba")
    cut = _threshold(held_out[:, 1], targets)

    def fitted(items: list[Text]) -> Judge:
        own = np.array([item.unwanted for item in items], dtype=np.int64)
        every = np.concatenate([targets, own])
        model = tfidf_model()
        features = model[:-1].fit_transform([*texts, *(item.text for item in items)])

        def probabilities(weights: Floats) -> Score:
            head = clone(model[-1])
            head.fit(features, every, sample_weight=np.append(np.ones(len(texts)), weights))
            return lambda rows: np.asarray(head.predict_proba(rows)[:, 1])

        found = emphasized(
            probabilities, lambda score: (score(features[len(texts) :]) >= cut) == (own == 1), items
        )
        return Judge(lambda asked: found(model[:-1].transform(asked)), cut, fitted)

    return fitted([])


def minilm(folder: Path) -> Method:
    """A frozen sentence encoder with the exact head of tamis, the penalty chosen out of fold."""

    def fit(data: Path, work: Path) -> Judge:
        from scipy.special import softmax

        from tamis.data.deduplication import exact_groups, repeat_key
        from tamis.evaluation.model_selection import Selection
        from tamis.head.linear_head import HeadRows, HeadSearch, fit_head
        from tamis.training.pretraining.teacher import Teacher

        teacher, rows = Teacher(folder), read_table(data)

        def embed(texts: list[str]) -> Floats:
            return np.asarray(teacher.embed(texts), dtype=np.float64)

        vectors, targets = embed(list(rows.texts)), _targets(rows)
        groups = exact_groups(map(repeat_key, rows.texts))
        first = fit_head(
            HeadRows(vectors, targets, np.ones(2), groups), HeadSearch(selection=Selection(1))
        )
        assert first.out_of_fold is not None
        cut = _threshold(softmax(first.out_of_fold, axis=1)[:, 1], targets)
        search = HeadSearch((first.inverse_penalty,))

        def fitted(items: list[Text]) -> Judge:
            own = np.array([item.unwanted for item in items], dtype=np.int64)
            new = embed([item.text for item in items]) if items else vectors[:0]
            every, known = np.concatenate([vectors, new]), np.concatenate([targets, own])

            def probabilities(weights: Floats) -> Score:
                weighted = np.append(np.ones(len(targets)), weights)
                head = fit_head(
                    HeadRows(every, known, np.ones(2), np.arange(len(known)), weighted), search
                )
                return lambda asked: softmax(asked @ head.weight.T + head.bias, axis=1)[:, 1]

            found = emphasized(
                probabilities, lambda score: (score(new) >= cut) == (own == 1), items
            )
            return Judge(lambda asked: found(embed(asked)), cut, fitted)

        return fitted([])

    return fit


Score = Callable[[Any], Floats]
"""Gives (N,) P(unwanted) for features of N texts."""


def emphasized(
    fit: Callable[[Floats], Score], right: Callable[[Score], NDArray[np.bool_]], items: list[Text]
) -> Score:
    """Fit with (n,) weights of the corrections, doubled for those with a wrong verdict as long as
    `tamis learn` would (LearningSettings.emphasis).
    """
    from tamis.feedback.guards import LearningSettings

    most, weights = LearningSettings().emphasis, np.ones(len(items))
    while True:
        found = fit(weights)
        if not items:
            return found
        louder = ~right(found) & (2 * weights <= most)
        if not louder.any():
            return found
        weights = np.where(louder, 2 * weights, weights)


def _targets(rows: Table) -> NDArray[np.int64]:
    return np.array([label == POSITIVE for label in rows.labels], dtype=np.int64)


def _threshold(scores: Floats, targets: NDArray[np.int64]) -> float:
    """The threshold by tamis's rule: best F1, level cuts settled by theory."""
    from tamis.decision.fit_rule import LEVEL_ROWS, LEVEL_SHARE
    from tamis.decision.thresholds import choose_threshold

    return choose_threshold(
        scores, targets == 1, max_fpr=None, level_rows=LEVEL_ROWS, level_share=LEVEL_SHARE
    ).value


def named(text: str, teacher: Path | None, settings: dict[str, Any]) -> tuple[str, Method]:
    """Parse `tfidf`, `minilm` or NAME=BACKBONE@TUNE into (name, method).

    Raises:
        ValueError: there is no such method, or `minilm` without its folder.
    """
    name, _, what = text.partition("=")
    if what:
        backbone, _, tune = what.rpartition("@")
        if backbone and tune:
            return name, tamis(backbone, tune, settings)
    elif name == "tfidf":
        return name, tfidf
    elif name == "minilm" and teacher is not None:
        return name, minilm(teacher)
    raise ValueError(
        f"--method {text}: expected tfidf, minilm (with --teacher FOLDER) or NAME=BACKBONE@TUNE"
    )
