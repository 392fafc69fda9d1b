"""What held-out rows choose by where the recipe leaves it open: one class that is looked for, or
both classes alike; and what that changes in a training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tamis import TextClassifier
from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.training.resolve import resolve_recipe
from tests.rows import messages

TEXTS = [text for _, text in messages()]
RARE = [label == "spam" for label, _ in messages()]


def scoring(labels: tuple[str, str] = ("fine", "offensive"), **settings: Any) -> str:
    """Of a table whose second label is the rarer one."""
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    recipe = Recipe().changed({"backbone": "scratch:tiny", "compute.device": "cpu"} | changed)
    names = [labels[rare] for rare in RARE]
    return resolve_recipe(recipe, TEXTS, names).recipe.decision.scoring


def test_both_classes_count_where_nobody_says_which_one_is_looked_for() -> None:
    assert scoring() == "f1_macro"
    assert scoring(("spam", "ham")) == "f1_macro"  # more spam than ham: no filter is trained


def test_a_note_tells_what_auto_has_found_before_the_training() -> None:
    def notes(**changed: Any) -> list[str]:
        recipe = Recipe().changed({"backbone": "scratch:tiny", "compute.device": "cpu"} | changed)
        names = [("fine", "offensive")[rare] for rare in RARE]
        found = resolve_recipe(recipe, TEXTS, names).notes
        return [note for note in found if "decision.scoring" in note]

    (note,) = notes()
    assert "decision.scoring = f1_macro (auto)" in note and "such as 'offensive'" in note
    assert notes(**{"data.positive": "offensive"}) == []
    assert notes(**{"decision.scoring": "f1_macro"}) == []


@pytest.mark.parametrize("label", ["spam", "SPAM", "Phishing", "fraud"])
def test_a_rarer_class_that_filters_look_for_is_the_one(label: str) -> None:
    assert scoring(("other", label)) == "f1"


@pytest.mark.parametrize(
    "stated",
    [
        {"data__positive": "offensive"},
        {"data__positive": "fine"},
        {"decision__max_fpr": 0.01},
        {"decision__costs": {"blocked": 2.0, "missed": 1.0}},
    ],
)
def test_who_names_a_class_a_budget_or_costs_looks_for_one_class(stated: dict[str, Any]) -> None:
    assert scoring(**stated) == "f1"


def test_what_is_asked_for_stays() -> None:
    assert scoring(("ham", "spam"), decision__scoring="f1_macro") == "f1_macro"
    assert scoring(decision__scoring="f1") == "f1"


def test_more_classes_stay_open_and_have_no_f1_of_one() -> None:
    labels = [("a", "b", "c")[row % 3] for row in range(len(TEXTS))]
    recipe = Recipe().changed({"backbone": "scratch:tiny", "compute.device": "cpu"})
    assert resolve_recipe(recipe, TEXTS, labels).recipe.decision.scoring == "auto"
    with pytest.raises(ConfigError, match="needs two classes"):
        resolve_recipe(recipe.changed({"decision.scoring": "f1"}), TEXTS, labels)


def test_a_model_of_two_equal_classes_is_chosen_and_cut_by_macro_f1() -> None:
    """The exact head of a tiny backbone; the labels are too noisy for a perfect cut."""
    noise = np.random.default_rng(5).random(len(TEXTS)) < 0.2
    names = np.where(np.array(RARE) ^ noise, "offensive", "fine").tolist()
    fitted = {
        how: TextClassifier(
            "scratch:tiny", "head", settings={"decision.scoring": how, "compute.threads": 1}
        ).fit(TEXTS, names)
        for how in ("auto", "f1")
    }
    both, one = fitted["auto"], fitted["f1"]
    assert both.recipe_.decision.scoring == "f1_macro"
    rules = [getattr(model.training_.decision.threshold, "rule", "") for model in (both, one)]
    assert rules == ["best macro F1", "best F1"]
    truth = np.array(names) == "offensive"

    def sum_of_f1(classifier: TextClassifier) -> float:
        found = classifier.training_
        assert classifier.rule_.threshold is not None
        flagged = found.held_out_probabilities[:, 1] >= classifier.rule_.threshold
        own = truth[found.held_out]
        pairs = ((flagged, own), (~flagged, ~own))
        return float(sum(2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs))

    assert sum_of_f1(both) > sum_of_f1(one)
