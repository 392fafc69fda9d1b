"""The online baseline: scikit-learn's own TF-IDF pipeline where everything is known, and no peek at
what is not.
"""

from __future__ import annotations

import numpy as np

from tamis.evaluation.baselines import tfidf_model
from tamis.evaluation.prequential import Feedback, replay
from tamis.evaluation.prequential_tfidf import HashedTfidf
from tests.rows import messages

TEXTS = [text for _, text in messages()]
TRUTH = np.array([label == "spam" for label, _ in messages()])


def test_with_all_labels_known_it_is_the_baselines_pipeline() -> None:
    online = HashedTfidf(TEXTS, TRUTH)
    online.learn(np.arange(len(TEXTS)))
    pipeline = tfidf_model().fit(TEXTS, TRUTH)
    features = pipeline.named_steps["features"].transform(TEXTS)
    ours = online.features(np.arange(len(TEXTS)))
    np.testing.assert_allclose(
        (ours @ ours.T).toarray(), (features @ features.T).toarray(), atol=1e-9
    )
    np.testing.assert_allclose(
        online.scores(np.arange(len(TEXTS))), pipeline.predict_proba(TEXTS)[:, 1], atol=0.02
    )


def test_going_on_from_where_it_stood_ends_at_the_same_optimum() -> None:
    cold, warm = HashedTfidf(TEXTS, TRUTH), HashedTfidf(TEXTS, TRUTH)
    for known in (30, 60, 90, 124):
        warm.learn(np.arange(known))
    cold.learn(np.arange(124))
    np.testing.assert_allclose(cold.scores(np.arange(124)), warm.scores(np.arange(124)), atol=0.02)


def test_neither_later_texts_nor_later_labels_change_a_score() -> None:
    texts, truth = TEXTS[:50], TRUTH[:50]
    whole = replay(HashedTfidf(texts, truth), Feedback("immediate"), 50).scores
    first = replay(HashedTfidf(texts[:25], truth[:25]), Feedback("immediate"), 25).scores
    np.testing.assert_allclose(whole[:25], first, atol=1e-6)
    turned = np.concatenate([truth[:25], ~truth[25:]])
    other = replay(HashedTfidf(texts, turned), Feedback("immediate"), 50).scores
    np.testing.assert_allclose(whole[:26], other[:26], atol=1e-6)
    assert np.abs(whole[27:] - other[27:]).max() > 0.1


def test_before_both_classes_are_known_the_score_is_the_share_seen() -> None:
    online = HashedTfidf(TEXTS, TRUTH)
    assert online.scores(np.arange(3)).tolist() == [0.25] * 3
    online.learn(np.flatnonzero(~TRUTH)[:8])
    assert online.scores(np.arange(2)).tolist() == [0.05] * 2


def test_it_can_begin_with_labelled_rows() -> None:
    begun = HashedTfidf(TEXTS[80:], TRUTH[80:], before=TEXTS[:80], before_is_positive=TRUTH[:80])
    scores = begun.scores(np.arange(44))
    assert scores[TRUTH[80:]].mean() > 0.6 > 0.4 > scores[~TRUTH[80:]].mean()
    plain = HashedTfidf(TEXTS, TRUTH)
    plain.learn(np.arange(80))
    np.testing.assert_allclose(scores, plain.scores(np.arange(80, 124)), atol=0.02)
