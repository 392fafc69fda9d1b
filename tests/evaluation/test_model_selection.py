"""Figures for choosing an epoch, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, log_loss

from tamis.config import Recipe
from tamis.evaluation.model_selection import (
    Scores,
    Selection,
    named_positive,
    selection_of,
    validate,
)


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
    assert [
        validate(logits, labels, Selection(k)).average_precision for k in (None, 0, 1)
    ] == pytest.approx([expected[0], *expected])
    assert [named_positive(wanted, ["a", "b"]) for wanted in ("b", None)] == [1, None]
    assert named_positive("b", ["a", "b", "c"]) is None


def test_two_classes_of_equal_worth_are_judged_by_the_best_macro_f1() -> None:
    """Found two of three without a mistake, the best cut: F1 4/5 and 6/7."""
    margin = torch.tensor([2.0, 1.0, 0.5, -1.0, -2.0, 0.7])
    labels = torch.tensor([1, 1, 0, 1, 0, 0])
    logits = torch.stack([-margin / 2, margin / 2], 1)
    scores = validate(logits, labels, Selection(macro_f1=True))
    assert scores.macro_f1 == pytest.approx((4 / 5 + 6 / 7) / 2)
    assert scores.merit == pytest.approx(0.829 - 1e-4 * math.tanh(scores.loss))
    assert scores.to_dict()["macro_f1"] == scores.macro_f1
    assert "macro_f1" not in validate(logits, labels).to_dict()
    # A cut is chosen with the model, so a constant shift of the scores changes nothing.
    shifted = validate(logits + torch.tensor([5.0, 0.0]), labels, Selection(macro_f1=True))
    assert shifted.macro_f1 == scores.macro_f1


def test_the_macro_f1_of_more_classes_is_scikit_learns_over_those_that_occur() -> None:
    logits, labels = drawn(4, [0, 1, 1, 0, 1, 2, 2, 0])
    expected = f1_score(
        labels, logits.argmax(1), labels=[0, 1, 2], average="macro", zero_division=0.0
    )
    assert validate(logits, labels, Selection(macro_f1=True)).macro_f1 == pytest.approx(expected)


def test_one_class_alone_has_no_macro_f1() -> None:
    scores = validate(*drawn(2, [1, 1, 1]), Selection(macro_f1=True))
    assert scores.macro_f1 is None and -1e-4 <= scores.merit < 0


def test_models_are_level_within_half_a_row() -> None:
    counts = np.array([40, 10])
    assert Selection().level(counts) == 0.05
    assert Selection(positive=0).level(counts) == 0.0125
    assert Selection(positive=0, macro_f1=True).level(counts) == 0.025  # both classes count
    assert Selection().level(np.array([0, 0])) == 0.0


def test_the_recipe_says_what_models_are_compared_by() -> None:
    recipe = Recipe().changed({"data.positive": "b", "decision.scoring": "f1"})
    assert selection_of(recipe, ["a", "b"]) == Selection(1)
    recipe = Recipe().changed({"decision.scoring": "f1_macro"})
    assert selection_of(recipe, ["a", "b"]) == Selection(None, macro_f1=True)
