"""Sample weights: in the exact head, in the training loop, and beside class weights and copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

from tamis import TextClassifier
from tests.rows import messages

TEXTS, LABELS = [text for _, text in messages()], [label for label, _ in messages()]
SPAM = np.array(LABELS) == "spam"
EXACT = {"text.pooling": "mean", "text.layers": 1}
LOOP = {"train.epochs": 2, "train.learning_rate": 0.01, "data.validation_share": 0.3}


def classifier(tune: str = "head", **arguments: Any) -> TextClassifier:
    given = {"settings": EXACT if tune == "head" else LOOP, **arguments}
    return TextClassifier("scratch:tiny", tune, threads=1, **given)


TUNES = ["head", "full", "blocks:1", "lora:2"]


@pytest.mark.parametrize("tune", TUNES)
def test_weights_of_one_change_nothing_and_others_do(tune: str) -> None:
    expected = classifier(tune).fit(TEXTS, LABELS).fingerprint()
    ones = classifier(tune).fit(TEXTS, LABELS, sample_weight=np.ones(len(TEXTS)))
    assert ones.fingerprint() == expected
    assert classifier(tune).fit(TEXTS, LABELS, 1.0).fingerprint() == expected
    weights = np.where(np.arange(len(TEXTS)) % 2, 3.0, 1.0)
    assert classifier(tune).fit(TEXTS, LABELS, weights).fingerprint() != expected


@pytest.mark.parametrize("tune", TUNES)
def test_a_row_of_weight_zero_is_as_good_as_absent(tune: str) -> None:
    weights = (np.arange(len(TEXTS)) >= 20).astype(float)
    texts = [*(["utterly wrong"] * 20), *TEXTS[20:]]
    labels = [*(["a label of no weight"] * 20), *LABELS[20:]]
    found = classifier(tune).fit(texts, labels, sample_weight=weights)
    expected = classifier(tune).fit(TEXTS[20:], LABELS[20:])
    assert found.fingerprint() == expected.fingerprint() and found.rule_ == expected.rule_
    assert found.classes_.tolist() == ["ham", "spam"]


@pytest.mark.parametrize("tune", TUNES)
def test_a_heavy_row_wins_over_a_light_one_of_another_label(tune: str) -> None:
    texts = [*TEXTS, *["is it me you are looking for"] * 8]
    sides = np.array([*LABELS, *["ham", "spam"] * 4])
    found = []
    for heavy in ("ham", "spam"):
        weights = np.ones(len(texts))
        weights[len(TEXTS) :] = np.where(sides[len(TEXTS) :] == heavy, 20.0, 0.05)
        settings = EXACT if tune == "head" else {**LOOP, "train.epochs": 5}
        fitted = classifier(tune, settings=settings).fit(
            texts, sides, weights, validation=np.arange(0, 124, 5)
        )
        found.append(fitted.decision_function([texts[-1]])[0])
    assert found[0] < found[1] - 0.1


def test_the_exact_head_is_scikit_learns_optimum_with_these_weights() -> None:
    weights = np.random.default_rng(3).uniform(0.2, 5, len(TEXTS))
    fitted = classifier().fit(TEXTS, LABELS, weights)
    record, penalty = fitted.training_, fitted.training_.facts["inverse_penalty"]
    assert record.features is not None
    reference = LogisticRegression(C=penalty, tol=1e-9, max_iter=10_000)
    reference.fit(record.features, SPAM, sample_weight=weights)
    found = (fitted.decision_function(TEXTS) - np.diff(record.shift)) * fitted.temperature_
    expected = reference.decision_function(record.features)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    reference.fit(record.features, SPAM)
    assert np.abs(found - reference.decision_function(record.features)).max() > 0.1


@pytest.mark.parametrize("tune", ["head", "full"])
def test_class_weights_may_be_given_as_sample_weights(tune: str) -> None:
    by_class = classifier(tune, class_weight={"spam": 4.0}).fit(TEXTS, LABELS)
    by_row = classifier(tune).fit(TEXTS, LABELS, np.where(SPAM, 4.0, 1.0))
    one, other = (each.decision_function(TEXTS) for each in (by_class, by_row))
    assert np.corrcoef(one, other)[0, 1] > (0.999 if tune == "head" else 0.9)
    if tune == "head":  # the effect on the shares of the classes is undone in both
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_balanced_counts_the_weights_of_the_rows() -> None:
    weights = np.linspace(0.5, 2, len(TEXTS))
    product = weights * compute_sample_weight("balanced", LABELS)
    product *= [weights[SPAM == spam].mean() ** -1 for spam in SPAM]
    product *= weights.sum() / product.sum()
    one = classifier(class_weight="balanced").fit(TEXTS, LABELS, weights)
    other = classifier().fit(TEXTS, LABELS, product)
    np.testing.assert_allclose(
        one.decision_function(TEXTS), other.decision_function(TEXTS), atol=1e-4
    )


def test_the_scale_of_the_weights_has_no_effect_in_the_loop() -> None:
    weights = np.where(np.arange(len(TEXTS)) % 2, 3.0, 1.0)
    one, other = (classifier("full").fit(TEXTS, LABELS, weights * scale) for scale in (1, 1024))
    np.testing.assert_allclose(one.predict_proba(TEXTS), other.predict_proba(TEXTS), atol=1e-5)


def test_copies_weigh_as_their_rows() -> None:
    settings = EXACT | {"train.augment_positives": 1.0, "train.augment_negatives": 1.0}
    fits = [
        classifier(settings=settings).fit(TEXTS, LABELS, weights)
        for weights in (None, np.where(np.arange(len(TEXTS)) % 2, 3.0, 1.0))
    ]
    assert fits[0].fingerprint() != fits[1].fingerprint()


def test_more_than_two_classes_keep_the_effect_of_the_weights() -> None:
    labels = np.array(["a", "b", "c"])[np.arange(len(TEXTS)) % 3]
    plain = classifier().fit(TEXTS, labels)
    heavy = classifier().fit(TEXTS, labels, np.where(labels == "c", 5.0, 1.0))
    assert (heavy.predict(TEXTS) == "c").sum() > (plain.predict(TEXTS) == "c").sum()
