"""What a fit is asked for, held against its rows before a backbone is read; and class weights that
do what they are for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tamis import ConfigError, TextClassifier
from tamis.config import Recipe
from tamis.decision.calibration import softmax
from tamis.decision.fit_rule import HeldOut, fit_decision_rule
from tamis.progress import once
from tamis.training import prepare
from tamis.training.defaults import few_labels
from tamis.training.resolve import resolve_recipe
from tamis.workflows.training_options import ROBUST
from tests.rows import messages

ROWS = messages()
TEXTS = [text for _, text in ROWS]
TWO = [label for label, _ in ROWS]
THREE = ["odd" if row % 11 == 0 else label for row, label in enumerate(TWO)]


@pytest.mark.parametrize(
    ("labels", "settings", "words"),
    [
        (THREE, {"decision.max_fpr": 0.01}, "decision.max_fpr needs two classes; the data have 3"),
        (
            THREE,
            {"decision.costs": "blocked=2,missed=1"},
            "decision.costs needs two classes; the data have 3",
        ),
        (THREE, {"decision.prior": "2%"}, "decision.prior needs two classes; the data have 3"),
        (
            THREE,
            {"data.positive": "spma"},
            "expected one of 'ham', 'odd', 'spam', got 'spma'; did you mean 'spam'?",
        ),
        (
            TWO,
            {"decision.costs": "blocked=2,missed=1", "decision.max_fpr": 0.01},
            "both set the threshold; give only one of them",
        ),
    ],
)
def test_what_the_rows_cannot_give_is_refused_before_a_backbone_is_read(
    labels: list[str], settings: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        prepare,
        "scratch_backbone",
        lambda *rest, **named: pytest.fail("training has begun"),
    )
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        TextClassifier("scratch:tiny", "head", threads=1, settings=settings).fit(TEXTS, labels)


def test_a_positive_label_of_three_classes_is_said_to_play_no_part() -> None:
    recipe = Recipe().changed({"data.positive": "spam", "tune": "full"})
    (note,) = resolve_recipe(recipe, TEXTS, THREE).notes
    assert (
        note.startswith("data.positive = 'spam' is ignored: the data have 3 classes")
        and "needs exactly two" in note
    )
    assert (
        resolve_recipe(recipe, TEXTS, TWO).notes
        == resolve_recipe(Recipe().changed({"tune": "full"}), TEXTS, THREE).notes
        == []
    )
    assert (
        resolve_recipe(recipe, TEXTS, THREE).positive is None
        and resolve_recipe(Recipe(), TEXTS, TWO).positive == "spam"
    )


@pytest.mark.parametrize(
    ("backbone", "tune", "words"),
    [
        (
            "nano",
            "head",
            "the lbfgs head cannot train attention (use --tune blocks:1); layer and pooling are "
            "chosen by cross-validation",
        ),
        (
            "scratch:tiny",
            "auto",
            "the next-token loss needs mean pooling (train.lm_loss_weight=0 disables that loss); "
            "mean pooling is used",
        ),
        ("nano", "full", None),
        ("nano", "lora:2", None),
    ],
)
def test_attention_that_is_not_trained_is_said_to_play_no_part(
    backbone: str, tune: str, words: str | None
) -> None:
    notes = resolve_recipe(
        Recipe().changed({**ROBUST, "backbone": backbone, "tune": tune}), TEXTS, TWO
    ).notes
    assert [note.startswith(f"text.pooling = attention is ignored: {words}") for note in notes] == [
        True
    ] * (words is not None)
    assert not resolve_recipe(
        Recipe().changed({"backbone": backbone, "tune": tune}), TEXTS, TWO
    ).notes


def overlapping() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calibrated logits of classes with 900, 60 and 40 rows that overlap, and the log of their
    shares.
    """
    random = np.random.default_rng(3)
    targets = np.repeat([0, 1, 2], [900, 60, 40])
    evidence = 1.5 * (np.eye(3)[targets] * 1.5 + random.normal(size=(1000, 3)))
    shares = np.log(np.array([0.9, 0.06, 0.04]))
    return evidence + shares - shares.mean(), targets, shares - shares.mean()


def macro_recall(probabilities: np.ndarray, targets: np.ndarray) -> float:
    return float(
        np.mean([(probabilities.argmax(1) == targets)[targets == k].mean() for k in range(3)])
    )


def test_weights_of_three_classes_are_put_back_once_the_temperature_is_found() -> None:
    logits, targets, corrected = overlapping()
    names = ["a", "b", "c"]
    settings = Recipe().decision
    undone, kept = (
        fit_decision_rule(
            HeldOut(2 * logits, targets, names, None),
            settings,
            uncorrected=corrected,
            weighted=weighted,
        )
        for weighted in (False, True)
    )
    assert (
        undone.temperature == kept.temperature != 1.0
    )  # the rows as they are settle it, weights or none
    np.testing.assert_allclose(
        kept.probabilities, softmax((2 * logits - corrected) / kept.temperature)
    )
    np.testing.assert_array_equal(kept.probabilities.argmax(1), (2 * logits - corrected).argmax(1))
    assert (
        macro_recall(kept.probabilities, targets)
        > macro_recall(undone.probabilities, targets) + 0.1
    )
    # Without held-out rows too, where the scores come out as they were trained.
    none = fit_decision_rule(
        HeldOut(logits[:0], targets[:0], names, None),
        settings,
        uncorrected=corrected,
        weighted=True,
    )
    np.testing.assert_array_equal(none.shift, -corrected)


WEIGHTED = {"text.pooling": "mean", "text.layers": 1}


def three_classes(**settings: Any) -> TextClassifier:
    return TextClassifier("scratch:tiny", "head", threads=1, settings={**WEIGHTED, **settings}).fit(
        TEXTS, THREE
    )


def test_balanced_weights_choose_rare_ones_of_three_classes_more_often_and_a_note_says_so() -> None:
    plain, balanced = three_classes(), three_classes(**{"train.class_weight": "balanced"})
    rare = list(plain.classes_).index("odd")
    counts = [
        np.bincount(fit.training_.held_out_probabilities.argmax(1), minlength=3)[rare]
        for fit in (plain, balanced)
    ]
    assert counts[1] > counts[0] + 5
    words = "class weights and undersampling also change"
    assert any(words in note for note in balanced.training_.notes)
    assert not any("class weights" in note for note in plain.training_.notes)
    assert any("class weights" in note for note in balanced.training_.extra_notes)  # in the report
    np.testing.assert_allclose(balanced.training_.shift, 0, atol=1e-9)  # as they were trained


def test_two_classes_stay_as_they_were_with_weights() -> None:
    settings = {**WEIGHTED, "train.class_weight": "balanced"}
    fitted = TextClassifier("scratch:tiny", "head", threads=1, settings=settings).fit(TEXTS, TWO)
    assert not any("class weights" in note for note in fitted.training_.notes)
    spam = TWO.count("spam")
    assert (
        fitted.training_.shift[1] - fitted.training_.shift[0]
    ) * fitted.temperature_ == pytest.approx(np.log(spam / (124 - spam)))


def test_a_sentence_about_the_temperature_is_in_the_report_once() -> None:
    few = [row for row, label in enumerate(THREE) if label == "odd"][:3]
    few += [row for row, label in enumerate(THREE) if label == "ham"][:3] + [
        row for row, label in enumerate(THREE) if label == "spam"
    ][:3]
    fitted = TextClassifier("scratch:tiny", "head", threads=1, settings=WEIGHTED).fit(
        [TEXTS[r] for r in few], [THREE[r] for r in few]
    )
    calibration = fitted.training_.decision.calibration
    assert calibration is not None and len(calibration.notes) == 1  # the report adds these itself
    assert (
        calibration.notes[0] in fitted.training_.notes
        and calibration.notes[0] not in fitted.training_.extra_notes
    )


def test_what_is_said_before_training_is_not_said_again_after_it() -> None:
    heard: list[str] = []
    say = once(heard.append)
    for sentence in ("a", "b", "a"):
        say(sentence)
    assert heard == ["a", "b"]


@pytest.mark.parametrize(
    ("rows", "classes", "tune"),
    [(300, 2, "head"), (301, 2, "full"), (60, 3, "head"), (61, 3, "full")],
)
def test_few_labels_train_the_head_and_say_so(rows: int, classes: int, tune: str) -> None:
    labels = (["a", "b", "c"][:classes] * rows)[:rows]
    found = resolve_recipe(Recipe(), [f"text {row}" for row in range(rows)], labels)
    assert found.recipe.tune == tune
    said = f"at most {few_labels(classes)} labels per class"
    assert any(said in note for note in found.notes) == (tune == "head")


def test_who_sets_something_of_the_training_loop_gets_it_with_few_labels_too() -> None:
    texts, labels = [f"text {row}" for row in range(9)], ["a", "b", "a"] * 3
    for name, value in (("epochs", 2), ("learning_rate", 1e-4), ("wise_ft", 0.1)):
        asked = Recipe().changed({f"train.{name}": value})
        assert resolve_recipe(asked, texts, labels).recipe.tune == "full", name
    asked = Recipe().changed({"train.class_weight": "balanced"})  # of the head as well
    assert resolve_recipe(asked, texts, labels).recipe.tune == "head"
