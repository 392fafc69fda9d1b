"""Figures for choosing an epoch, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, log_loss

from tamis.evaluation.model_selection import Scores, named_positive, validate


def drawn(classes: int, targets: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(
        len(targets), classes, generator=torch.Generator().manual_seed(classes)
    ), torch.tensor(targets)


def test_two_classes_are_judged_by_the_rarer_one() -> None:
    for targets in ([0, 0, 1, 0, 0, 1, 0], [1, 1, 0, 1, 1, 0, 1]):
        logits, labels = drawn(2, targets)
        probabilities, rarer = logits.double().softmax(1).numpy(), min((0, 1), key=targets.count)
        scores = validate(logits, labels)
        assert scores.average_precision == pytest.approx(
            average_precision_score(labels == rarer, probabilities[:, rarer])
        )
        assert scores.loss == pytest.approx(log_loss(labels, probabilities))
        assert scores.accuracy == pytest.approx(
            float((probabilities.argmax(1) == np.array(targets)).mean())
        )


def test_more_classes_are_averaged_over_those_that_occur() -> None:
    logits, labels = drawn(4, [0, 2, 1, 0, 2, 2, 0])
    probabilities = logits.double().softmax(1).numpy()
    expected = np.mean(
        [average_precision_score(labels == k, probabilities[:, k]) for k in (0, 1, 2)]
    )
    assert validate(logits, labels).average_precision == pytest.approx(expected)


def test_one_class_alone_has_no_average_precision() -> None:
    scores = validate(*drawn(2, [1, 1, 1]))
    assert scores.average_precision is None and -1e-4 <= scores.merit < 0


def test_merit_is_average_precision_and_the_loss_where_that_is_level() -> None:
    def merit(precision: float | None, loss: float) -> float:
        return Scores(loss, 0.5, precision).merit

    assert merit(0.902, 9.0) > merit(0.901, 0.1)
    assert merit(0.9011, 0.1) > merit(0.9012, 0.2) > merit(0.9012, 3.0)
    assert merit(None, 0.1) > merit(None, 0.2)


def test_a_positive_class_that_is_named_judges_although_it_is_the_more_common_one() -> None:
    logits, labels = drawn(2, [0, 1, 1, 0, 1, 1, 1])
    probabilities = logits.double().softmax(1).numpy()
    expected = [average_precision_score(labels == k, probabilities[:, k]) for k in (0, 1)]
    assert expected[0] != pytest.approx(expected[1])
    assert [validate(logits, labels, k).average_precision for k in (None, 0, 1)] == pytest.approx(
        [expected[0], *expected]
    )
    assert [named_positive(wanted, ["a", "b"]) for wanted in ("b", None)] == [1, None]
    assert named_positive("b", ["a", "b", "c"]) is None
