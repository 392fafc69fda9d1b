"""A loaded classifier that is asked text by text: ONNX Runtime answers, with the verdicts and to
1e-5 the probabilities of torch, and torch answers where it cannot.
"""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch

from tamis import TextClassifier
from tamis.classifier import storage
from tamis.decision.calibration import softmax
from tamis.gpt2.inference.small_batches import FROM_CALL, SmallBatches
from tamis.gpt2.scoring import window_logits
from tests import runs
from tests.rows import messages

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TEXTS = [text for _, text in messages()][:24]
LONG = " ".join(TEXTS[:7])
"""several windows of a small model, and still a small batch"""


@cache
def plain() -> TextClassifier:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "onnx_runtime_is_here", lambda: False)
        return TextClassifier.load(runs.finished_run(), threads=1)


def loaded(**compute: str) -> TextClassifier:
    return TextClassifier.load(runs.finished_run(), threads=1, **compute)


def used(classifier: TextClassifier) -> bool:
    small = classifier.predictor_.small
    return small is not None and small.ready


def test_text_by_text_gives_the_verdicts_and_probabilities_of_torch() -> None:
    classifier = loaded()
    classifier.predictor_.expect_many_calls()
    assert used(classifier) and plain().predictor_.small is None
    for text in [*TEXTS, LONG, "", "<|endoftext|>"]:
        (found,), (expected,) = classifier.verdicts([text]), plain().verdicts([text])
        assert (found.label, found.verdict) == (expected.label, expected.verdict)
        assert (found.window is None) == (expected.window is None)
        if found.window is not None and expected.window is not None:
            assert found.window.number == expected.window.number
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5, rel=0)
    several = [*TEXTS[:3], TEXTS[0]]
    np.testing.assert_allclose(
        classifier.predict_proba(several), plain().predict_proba(several), rtol=0, atol=1e-5
    )
    assert classifier.predict_proba([]).shape == (0, 2)


def test_small_requests_do_not_compute_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = loaded()
    for _ in range(FROM_CALL):
        classifier.predict(TEXTS[:1])
    assert used(classifier)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torch computed a small batch")

    monkeypatch.setattr(torch.nn.functional, "linear", refuse)
    classifier.predict(TEXTS[1:3])
    with pytest.raises(AssertionError, match="torch computed"):
        classifier.predict(TEXTS)  # a large batch is torch's


def test_a_few_calls_make_no_graph_and_a_fitted_classifier_never_does() -> None:
    classifier = loaded()
    for text in TEXTS[: FROM_CALL - 1]:
        classifier.predict([text])
    assert not used(classifier)
    rows = messages()[:24]
    fitted = TextClassifier("scratch:tiny", "head", threads=1)
    fitted.fit([text for _, text in rows], [label for label, _ in rows])
    fitted.predictor_.expect_many_calls()
    assert fitted.predictor_.small is None


def test_what_must_give_the_same_bytes_again_is_computed_by_torch() -> None:
    classifier = loaded()
    classifier.predictor_.expect_many_calls()
    expected = plain().predictor_.logits(TEXTS[:2])
    assert np.array_equal(classifier.predictor_.logits(TEXTS[:2]), expected)
    assert np.array_equal(
        classifier.predictor_.probabilities(TEXTS[:2]), plain().predictor_.probabilities(TEXTS[:2])
    )


def test_another_number_type_is_left_to_torch() -> None:
    classifier = loaded(dtype="bf16")
    classifier.predictor_.expect_many_calls()
    assert classifier.predictor_.small is None
    changed = loaded()
    changed.set_params(dtype="bf16")
    changed.predict(TEXTS[:1])
    assert changed.predictor_.small is None


def test_a_learned_head_answers_from_the_same_graph() -> None:
    classifier = loaded()
    classifier.predictor_.expect_many_calls()
    before = classifier.predict_proba(TEXTS[:2])
    other = copy.copy(classifier)
    other.partial_fit(TEXTS[:2], ["spam", "ham"] if before[0, 0] > 0.5 else ["ham", "spam"])
    assert other.predictor_.small is classifier.predictor_.small
    windows = other.predictor_.encoder.encode(TEXTS[:2]).windows
    expected = softmax(window_logits(other.predictor_.scorer, windows))
    after = other.predict_proba(TEXTS[:2])
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-5)
    assert np.abs(after - before).max() > 1e-3


def test_a_copy_of_a_classifier_with_a_graph_is_a_classifier() -> None:
    classifier = loaded()
    classifier.predictor_.expect_many_calls()
    other = copy.deepcopy(classifier)
    np.testing.assert_allclose(
        other.predict_proba(TEXTS[:1]), classifier.predict_proba(TEXTS[:1]), rtol=0, atol=1e-5
    )
    assert isinstance(other.predictor_.small, SmallBatches) and not other.predictor_.small.ready
