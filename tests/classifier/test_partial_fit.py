"""Learning further rows: the optimum on all rows so far, whichever way they were divided."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tamis import DataError, TextClassifier
from tamis.classifier.training_features import TrainingRows, text_keys
from tamis.feedback.guards import LearningSettings
from tamis.feedback.refit import Base, CorrectionRows
from tests import runs
from tests.rows import messages

TEXTS, LABELS = [text for _, text in messages()], [label for label, _ in messages()]
NEW = ["free ringtones are what my brother wants", "see you at the prize ceremony", TEXTS[3] + "!"]
SAID = ["ham", "ham", "spam"]


def head(**arguments: Any) -> TextClassifier:
    return TextClassifier("scratch:tiny", "head", threads=1, **arguments)


def fitted(**arguments: Any) -> TextClassifier:
    return head(**arguments).fit(TEXTS, LABELS)


def test_the_optimum_is_scikit_learns_on_all_rows() -> None:
    classifier = fitted()
    assert classifier.training_.features is not None
    penalty = classifier.training_.facts["inverse_penalty"]
    features = np.concatenate([classifier.training_.features, classifier.embed(NEW)])
    weights = np.array([*np.ones(len(TEXTS)), 1, 2, 3])
    reference = LogisticRegression(C=penalty, tol=1e-9, max_iter=10_000)
    reference.fit(features, np.array([*LABELS, *SAID]) == "spam", sample_weight=weights)
    shift, temperature = np.diff(classifier.training_.shift), classifier.temperature_
    classifier.partial_fit(NEW, SAID, sample_weight=[1, 2, 3])
    found = (classifier.decision_function([*TEXTS, *NEW]) - shift) * temperature
    np.testing.assert_allclose(found, reference.decision_function(features), atol=2e-3)


def test_it_is_the_refit_of_feedback_without_its_guards() -> None:
    classifier = fitted()
    record = classifier.training_
    assert record.features is not None
    rows = TrainingRows(
        record.features,
        (np.array(LABELS) == "spam").astype(np.int64),
        np.arange(len(TEXTS)),
        text_keys(TEXTS),
        np.zeros(len(TEXTS), dtype=bool),
        ("ham", "spam"),
        np.ones(2),
        record.facts["inverse_penalty"],
    )
    base = Base(classifier, rows, LearningSettings(emphasis=1))
    said = (np.array(SAID) == "spam").astype(np.int64)
    features = classifier.embed(NEW).astype(np.float64)
    given = CorrectionRows(features, said, np.ones(3, dtype=bool), text_keys(NEW))
    expected = base.candidate(given).head.logits(features)
    found = classifier.partial_fit(NEW, SAID).decision_function(NEW)
    np.testing.assert_allclose(found, expected[:, 1] - expected[:, 0], atol=2e-3)


@pytest.mark.parametrize("tune", ["head", "full"])
def test_the_order_and_the_number_of_calls_do_not_matter(tune: str) -> None:
    settings = runs.settings(**{"train.epochs": 4}) if tune == "full" else None
    one, other = (
        TextClassifier("scratch:tiny", tune, threads=1, settings=settings).fit(TEXTS, LABELS)
        for _ in range(2)
    )
    before = one.decision_function(NEW)
    one.partial_fit(NEW, SAID)
    for text, label in reversed(list(zip(NEW, SAID, strict=True))):
        other.partial_fit([text], [label])
    np.testing.assert_allclose(
        one.decision_function(TEXTS), other.decision_function(TEXTS), atol=2e-3
    )
    moved = (one.decision_function(NEW) - before) * [-1, -1, 1]
    # In a trained trunk these three are so close to each other that one may pull another along.
    assert (moved > 0).all() if tune == "head" else moved.sum() > 0


def test_a_text_that_is_said_again_gets_its_new_label() -> None:
    row = LABELS.index("spam")
    again = fitted().partial_fit([TEXTS[row]], ["ham"], sample_weight=[5.0])
    assert again.decision_function([TEXTS[row]])[0] < fitted().decision_function([TEXTS[row]])[0]
    replaced = [text == TEXTS[row] for text in TEXTS]
    assert (again.learned_rows_.weights[: len(TEXTS)] == 0).tolist() == replaced
    back = again.partial_fit([TEXTS[row]] * LABELS.count("spam"), ["spam"] * LABELS.count("spam"))
    assert back.predict([TEXTS[row]]).tolist() == ["spam"]


def test_the_first_call_is_a_fit_and_no_rows_change_nothing() -> None:
    first = head().partial_fit(TEXTS, LABELS, classes=["ham", "spam"])
    assert first.fingerprint() == fitted().fingerprint()
    assert first.partial_fit([], []).fingerprint() == fitted().fingerprint()


def test_trunk_threshold_and_classes_stay() -> None:
    classifier = fitted()
    rule, vectors = classifier.rule_, classifier.embed(TEXTS[:5])
    classifier.partial_fit(NEW, SAID)
    assert classifier.rule_ == rule
    np.testing.assert_allclose(classifier.embed(TEXTS[:5]), vectors, atol=1e-5)
    with pytest.raises(DataError, match=r"labels\[0\]: 'eggs' is not one of the labels"):
        classifier.partial_fit(["a"], ["eggs"])
    with pytest.raises(DataError, match="one for each of the 2 texts"):
        classifier.partial_fit(["a", "b"], ["ham"])
    with pytest.raises(DataError, match=r"classes: .*'eggs'"):
        classifier.partial_fit(["a"], ["ham"], classes=["ham", "eggs"])
    with pytest.raises(DataError, match=r"classes: .*'maybe'"):
        head().partial_fit(TEXTS, LABELS, classes=["ham", "spam", "maybe"])


def test_saved_and_pickled_it_knows_what_it_learned(tmp_path: Path) -> None:
    classifier = fitted().partial_fit(NEW, SAID)
    classifier.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    expected = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), expected, atol=1e-5)
    again = pickle.loads(pickle.dumps(classifier))
    classifier.partial_fit(["one more"], ["spam"])
    again.partial_fit(["one more"], ["spam"])
    found, expected = again.predict_proba(TEXTS), classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_loaded_model_learns_from_its_run_folder_or_alone(tmp_path: Path) -> None:
    with_rows = TextClassifier.load(runs.finished_run(), threads=1)
    fitted().save(tmp_path / "model")
    alone = TextClassifier.load(tmp_path / "model", threads=1)
    for classifier in (with_rows, alone):
        before = classifier.decision_function(TEXTS)
        score = classifier.decision_function(NEW[:1])[0]
        classifier.partial_fit(NEW[:1], ["ham"])
        assert classifier.decision_function(NEW[:1])[0] < score
        assert np.corrcoef(classifier.decision_function(TEXTS), before)[0, 1] > 0.5
    assert with_rows.learned_rows_.features.shape[0] > len(TEXTS) / 3
    assert alone.learned_rows_.features.shape[0] == 1


def test_more_than_two_classes_and_class_weights() -> None:
    labels = np.arange(len(TEXTS)) % 3
    classifier = head(class_weight="balanced").fit(TEXTS, labels)
    before = classifier.predict_proba(NEW)[0]
    after = classifier.partial_fit(NEW[:1], [2], sample_weight=[20]).predict_proba(NEW)[0]
    assert after[2] > before[2] + 0.1 and after.sum() == pytest.approx(1)


def test_a_row_of_almost_no_weight_changes_nothing() -> None:
    classifier = fitted(class_weight="balanced")
    assert abs(np.diff(classifier.training_.shift)[0]) > 0.5
    before = classifier.decision_function(TEXTS)
    classifier.partial_fit(NEW[:1], ["ham"], sample_weight=[1e-9])
    np.testing.assert_allclose(classifier.decision_function(TEXTS), before, atol=2e-3)
