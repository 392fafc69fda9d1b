"""A model as an online filter: it learns what a served model would, knows no label early, and says
what is not like for like.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis import ConfigError, TextClassifier
from tamis.classifier.training_features import read_training_rows, text_keys
from tamis.evaluation.prequential import Feedback, replay
from tamis.feedback.guards import LearningSettings
from tamis.feedback.refit import Base
from tamis.feedback.replay import (
    FRESH,
    SERVED,
    STATIC,
    TFIDF,
    FreshFilter,
    LabelledStream,
    ServedFilter,
    run_prequential,
)
from tests import runs
from tests.feedback.learners import TEXTS, head_classifier, head_run, learning, mistaken
from tests.feedback.test_refit import features
from tests.rows import messages

ITEMS = [(f"{text} {n}", "ham" if n % 3 else "spam") for n in range(3) for text in TEXTS]


def served(items: list[tuple[str, str]] = ITEMS, **settings: float) -> ServedFilter:
    texts = [text for text, _ in items]
    targets = np.array([["ham", "spam"].index(label) for _, label in items])
    base = Base(
        head_classifier(), read_training_rows(head_run()), LearningSettings.model_validate(settings)
    )
    return ServedFilter(base, features(head_classifier(), texts), targets, text_keys(texts), 1)


def test_it_begins_as_the_model_and_ends_as_a_served_model_with_the_same_corrections(
    tmp_path: Path,
) -> None:
    items = [(item.text, item.label) for item in mistaken()]
    texts = [text for text, _ in items]
    filter_ = served(items)
    np.testing.assert_allclose(
        filter_.scores(np.arange(8)), head_classifier().predict_proba(texts)[:, 1], atol=1e-4
    )
    for count in range(1, 9):
        filter_.learn(np.arange(count))
    found = learning(tmp_path / "s.sqlite")
    found.add(mistaken())
    assert found.learn().learned
    np.testing.assert_allclose(
        filter_.scores(np.arange(8)), found.classifier_for().predict_proba(texts)[:, 1], atol=2e-3
    )


def test_no_score_depends_on_a_label_that_is_not_known() -> None:
    turned = [
        *ITEMS[:12],
        *[(text, "ham" if label == "spam" else "spam") for text, label in ITEMS[12:]],
    ]
    one, other = (
        replay(served(items), Feedback("immediate"), len(ITEMS)).scores for items in (ITEMS, turned)
    )
    assert np.array_equal(one[:13], other[:13]) and np.abs(one[13:] - other[13:]).max() > 0.05


def test_of_a_text_that_comes_again_the_last_label_counts() -> None:
    (item,) = mistaken(1)
    other = "ham" if item.label == "spam" else "spam"
    filter_ = served([(item.text, other), (item.text, item.label)])
    filter_.learn(np.arange(2))
    alone = served([(item.text, item.label)])
    alone.learn(np.arange(1))
    np.testing.assert_allclose(
        filter_.scores(np.array([0])), alone.scores(np.array([0])), atol=1e-3
    )


def test_a_head_from_nothing_is_logistic_regression_on_the_labels_known_so_far() -> None:
    from sklearn.linear_model import LogisticRegression

    rows = features(head_classifier(), [text for text, _ in ITEMS])
    truth = np.array([label == "spam" for _, label in ITEMS])
    fresh = FreshFilter(rows, truth)
    assert fresh.scores(np.arange(2)).tolist() == [0.25, 0.25]
    fresh.learn(np.flatnonzero(truth)[:2])
    assert fresh.scores(np.arange(1)).tolist() == [2.5 / 4]
    known = np.arange(3, 20)
    fresh.learn(known)
    model = LogisticRegression(C=100.0, tol=1e-10, max_iter=10_000).fit(rows[known], truth[known])
    np.testing.assert_allclose(
        fresh.scores(np.arange(24)), model.predict_proba(rows)[:, 1], atol=2e-3
    )


def prequential(
    run: Path, classifier: TextClassifier, rows: list[tuple[str, str]], **options: Any
) -> Any:
    texts, labels = [text for _, text in rows], [label for label, _ in rows]
    stream = LabelledStream(texts, labels, "spam", options.pop("before", ((), ())))
    return run_prequential(classifier, run, stream, delay=20, share=0.2, **options)


def test_every_filter_is_judged_under_every_feedback_and_what_is_not_like_for_like_is_said() -> (
    None
):
    results, notes = prequential(head_run(), head_classifier(), messages()[:40])
    feedbacks = ["immediate", "delayed by 20", "partial (20 %)"]
    expected = [
        (STATIC, ""),
        *((name, feedback) for feedback in feedbacks for name in (SERVED, FRESH, TFIDF)),
    ]
    assert [(result.filter, result.feedback) for result in results] == expected
    assert all(result.messages == 40 and result.one_minus_roca is not None for result in results)
    threshold = head_classifier().rule_.threshold
    assert {result.threshold for result in results if result.filter in (STATIC, SERVED)} == {
        threshold
    }
    assert [result.labels for result in results[:5]] == [0, 40, 40, 40, 20]
    assert (
        notes[0].startswith("TF-IDF starts with no labels")
        and "of the 40 messages are among the model's training rows" in notes[1]
    )


def test_tfidf_begins_with_the_pool_where_there_is_one_and_a_model_without_rows_says_so(
    tmp_path: Path,
) -> None:
    run = runs.copy_of(head_run() / "model", tmp_path / "alone")
    pool = ([text for _, text in messages()[60:]], [label for label, _ in messages()[60:]])
    results, notes = prequential(
        run, TextClassifier.load(run, threads=1), messages()[:30], before=pool
    )
    assert notes[0].startswith("TF-IDF starts with the training part of the split") and notes[
        1
    ].startswith("No training rows are stored")
    late = next(
        result
        for result in results
        if result.filter == TFIDF and result.feedback == "delayed by 20"
    )
    # Most verdicts come before the first late label: what it knows of them it knows from the pool.
    assert late.one_minus_roca is not None and late.one_minus_roca < 15 and len(notes) == 2


def test_a_replay_needs_two_classes_and_a_positive_one() -> None:
    with pytest.raises(
        ConfigError,
        match="prequential evaluation needs two classes, one of them positive; the model has 2: "
        "ham, spam",
    ):
        run_prequential(head_classifier(), head_run(), LabelledStream(["a"], ["ham"], None))
    with pytest.raises(ConfigError, match="share"):
        stream = LabelledStream(["a"], ["ham"], "spam")
        run_prequential(head_classifier(), head_run(), stream, share=2.0)
