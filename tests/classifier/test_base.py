"""Parameters: class weights and positive labels of every type, settings given singly, seeds, and
what a change means for a classifier that is fitted or loaded.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from tamis import CheckpointError, ConfigError, TextClassifier
from tamis.config import Recipe
from tests.rows import messages

TEXTS, LABELS = [text for _, text in messages()], [label for label, _ in messages()]
SPAM = np.array(LABELS) == "spam"
KINDS: dict[str, Any] = {
    "str": np.array(LABELS),
    "int": SPAM.astype(int),
    "float": SPAM.astype(float),
    "bool": SPAM,
}


def head(**arguments: Any) -> TextClassifier:
    return TextClassifier("scratch:tiny", "head", threads=1, **arguments)


@cache
def weighted(kind: str) -> str:
    ham, spam = map(str, np.unique(KINDS[kind]))
    return head(class_weight={spam: 5.0, ham: 1.0}).fit(TEXTS, KINDS[kind]).fingerprint()


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("str", {"spam": 5, "ham": 1}),
        ("str", {np.str_("spam"): np.float64(5)}),
        ("int", {0: 1, 1: 5}),
        ("int", {np.int64(1): np.float32(5)}),
        ("int", {1.0: 5}),
        ("int", {True: 5, False: 1}),
        ("int", {"1": 5}),
        ("float", {0: 1, 1: 5}),
        ("float", {1.0: 5.0}),
        ("bool", {True: 5, False: 1}),
        ("bool", {np.bool_(True): 5}),
        ("bool", {"True": 5}),
    ],
)
def test_class_weights_have_the_type_of_the_labels(kind: str, weights: Any) -> None:
    assert head(class_weight=weights).fit(TEXTS, KINDS[kind]).fingerprint() == weighted(kind)
    settings = {"train.class_weight": weights}
    assert head(settings=settings).fit(TEXTS, KINDS[kind]).fingerprint() == weighted(kind)


def test_no_class_weights_have_two_names() -> None:
    plain = head().fit(TEXTS, LABELS).fingerprint()
    assert head(class_weight=None).fit(TEXTS, LABELS).fingerprint() == plain
    assert head(class_weight="none").fit(TEXTS, LABELS).fingerprint() == plain
    assert head(class_weight="balanced").fit(TEXTS, LABELS).fingerprint() != plain
    assert head(class_weight={"ham": 1.0}).fit(TEXTS, LABELS).fingerprint() == plain


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"eggs": 2.0}, "names 'eggs', which is not one of the labels"),
        ({1: 2.0}, "names '1', which is not one of the labels"),
        ({"spam": 0}, "class_weight"),
        ({"spam": -1}, "class_weight"),
        ({"spam": "heavy"}, "class_weight"),
        ({"spam": None}, "class_weight"),
        ({"spam": float("inf")}, "class_weight of 'spam': expected a number, got inf"),
        ({"spam": np.float32("nan")}, "class_weight of 'spam': expected a number, got nan"),
        ({("spam",): 1}, "class_weight: expected a label .*got tuple"),
        ({None: 1}, "class_weight: expected a label .*got NoneType"),
        ("blanced", "class_weight"),
        ([1, 2], "class_weight"),
        (2.0, "class_weight"),
    ],
)
def test_other_class_weights_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        head(class_weight=weights).fit(TEXTS, LABELS)


def test_a_label_has_one_weight() -> None:
    with pytest.raises(ConfigError, match="names the label '1' twice"):
        head(class_weight={1: 2, "1": 3}).fit(TEXTS, SPAM.astype(int))


@pytest.mark.parametrize(
    ("kind", "positive"),
    [
        ("str", "ham"),
        ("str", np.str_("ham")),
        ("int", 0),
        ("int", np.int8(0)),
        ("int", 0.0),
        ("int", False),
        ("int", "0"),
        ("float", 0),
        ("float", "0"),
        ("bool", False),
        ("bool", np.False_),
        ("bool", "False"),
    ],
)
def test_the_positive_label_may_be_of_any_type(kind: str, positive: Any, tmp_path: Path) -> None:
    fitted = head(positive=positive).fit(TEXTS, KINDS[kind])
    expected = fitted.classes_[0]
    assert fitted.positive_ == str(expected) == fitted.rule_.positive
    fitted.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    assert loaded.positive_ == str(expected) == loaded.positive
    later = head(max_fpr=0.0).fit(TEXTS, KINDS[kind]).set_params(positive=positive)
    assert later.positive_ == str(expected) == later.rule_.positive
    held_out, record = later.training_.held_out_probabilities[:, 0], later.training_
    others = KINDS[kind][record.held_out] != expected
    assert later.rule_.threshold is not None and (held_out[others] < later.rule_.threshold).all()


@pytest.mark.parametrize("positive", ["eggs", 7, ["spam"], {"spam"}, b"spam"])
def test_another_positive_label_is_refused(positive: Any) -> None:
    with pytest.raises(ConfigError, match="positive"):
        head(positive=positive).fit(TEXTS, LABELS)


def test_a_seed_has_two_names_and_may_come_from_a_generator() -> None:
    def seed(**arguments: Any) -> int:
        return head(**arguments).recipe().seed

    assert seed() == 42 and seed(seed=7) == 7
    assert seed(random_state=0) == 0 and seed(random_state=np.int64(5), seed=7) == 5
    generator = np.random.RandomState(3)
    before = str(generator.get_state(legacy=True))
    assert seed(random_state=generator) == seed(random_state=generator)
    assert str(generator.get_state(legacy=True)) == before
    assert seed(random_state=np.random.default_rng(3)) < 2**31
    for wrong in (-1, 1.5, "lucky"):
        with pytest.raises(ConfigError, match="seed"):
            seed(random_state=wrong)


def test_single_settings_are_parameters() -> None:
    classifier = head(settings={"train.epochs": 3})
    assert classifier.get_params()["settings__train__epochs"] == 3
    assert "settings__train__epochs" not in classifier.get_params(deep=False)
    given = classifier.settings
    classifier.set_params(settings__epochs=5, settings__decision__abstain_rate=0.1)
    assert classifier.settings == {"train.epochs": 5, "decision.abstain_rate": 0.1}
    assert given == {"train.epochs": 3}  # which may belong to another classifier
    assert clone(classifier).recipe().train.epochs == 5
    classifier.set_params(settings={}, settings__train__epochs=2)
    assert classifier.settings == {"train.epochs": 2}
    with pytest.raises(ConfigError, match=r"'train.epoch'; did you mean 'train.epochs'"):
        classifier.set_params(settings__train__epoch=1)
    with pytest.raises(ConfigError, match="no parameter 'setting__train__epochs'"):
        classifier.set_params(setting__train__epochs=1)
    assert classifier.settings == {"train.epochs": 2}


@pytest.mark.parametrize("settings", [[("train.epochs", 3)], "train.epochs=3", 3])
def test_settings_are_a_mapping(settings: Any) -> None:
    with pytest.raises(ConfigError, match="settings: expected a mapping"):
        head(settings=settings).fit(TEXTS, LABELS)


def test_what_is_given_twice_is_refused_unless_it_agrees() -> None:
    with pytest.raises(ConfigError, match=r"decision.max_fpr is given twice.*0.01.*0.1"):
        head(max_fpr=0.01, settings={"decision.max_fpr": 0.1}).recipe()
    with pytest.raises(ConfigError, match=r"settings name train.epochs twice"):
        head(settings={"train.epochs": 1, "epochs": 2}).recipe()
    assert head(max_fpr=0.01, settings={"decision.max_fpr": "1%"}).recipe().decision.max_fpr == 0.01
    assert TextClassifier(settings={"tune": "full"}).recipe().tune == "full"


def test_a_recipe_makes_a_classifier_with_this_recipe() -> None:
    changes = {
        "tune": "blocks:2",
        "seed": 9,
        "decision.max_fpr": 0.01,
        "train.class_weight": {"a": 2.0},
        "data.positive": "a",
        "text.window": 32,
        "compute.threads": 1,
    }
    for recipe in (Recipe(), Recipe().changed(changes)):
        classifier = TextClassifier.from_recipe(recipe)
        assert classifier.recipe() == recipe == clone(classifier).recipe()
    assert repr(TextClassifier.from_recipe(Recipe())) == "TextClassifier()"


def test_a_changed_budget_counts_after_fit_and_after_load(tmp_path: Path) -> None:
    strict = head(max_fpr=0.0).fit(TEXTS, LABELS)
    fitted = head().fit(TEXTS, LABELS)
    usual = fitted.rule_
    assert usual != strict.rule_
    fitted.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    for classifier in (fitted, loaded):
        assert classifier.set_params(max_fpr=0.0).rule_ == strict.rule_
        np.testing.assert_array_equal(classifier.predict(TEXTS), strict.predict(TEXTS))
        assert classifier.recipe_.decision.max_fpr == 0.0
        assert classifier.set_params(max_fpr=None).rule_ == usual
        classifier.max_fpr = 0.0  # without set_params it counts from the next prediction on
        assert [v.verdict for v in classifier.verdicts(TEXTS)] == [
            v.verdict for v in strict.verdicts(TEXTS)
        ]
        classifier.set_params(max_fpr=None, settings__decision__costs={"blocked": 9, "missed": 1})
        assert classifier.rule_.threshold == pytest.approx(0.9)
        classifier.set_params(settings__decision__costs=None)
        assert classifier.rule_ == usual
    loaded.set_params(max_fpr=0.0).save(tmp_path / "strict")
    assert TextClassifier.load(tmp_path / "strict", threads=1).rule_ == strict.rule_


def test_a_changed_positive_class_counts(tmp_path: Path) -> None:
    head().fit(TEXTS, LABELS).save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1).set_params(positive="ham")
    assert loaded.positive_ == "ham" and loaded.predictor_.encoder.aggregation.positive == 0
    assert {verdict.label for verdict in loaded.verdicts(TEXTS)} == {"ham", "spam"}
    found = loaded.rule_.labels(loaded.predict_proba(TEXTS), ["ham", "spam"])
    assert loaded.predict(TEXTS).tolist() == [["ham", "spam"][place] for place in found]
    assert loaded.set_params(positive=None).positive_ == "spam"
    loaded.set_params(positive="eggs")  # may belong to the labels of the next fit
    with pytest.raises(ConfigError, match="expected one of 'ham', 'spam', got 'eggs'"):
        loaded.predict(TEXTS)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"class_weight": "balanced"}, "train.class_weight = 'balanced'"),
        ({"class_weight": {"spam": 5}}, "train.class_weight"),
        ({"tune": "full"}, "tune = 'full'"),
        ({"backbone": "nano"}, "backbone = 'nano'"),
        ({"seed": 1}, "seed = 1"),
        ({"random_state": 1}, "seed = 1"),
        ({"settings__train__label_smoothing": 0.1}, "train.label_smoothing = 0.1"),
        ({"settings__decision__prior": 0.5}, "decision.prior = 0.5"),
    ],
)
@pytest.mark.parametrize("loaded", [False, True])
def test_a_change_that_needs_a_training_is_no_silent_one(
    change: dict[str, Any], named: str, loaded: bool, tmp_path: Path
) -> None:
    classifier = head().fit(TEXTS, LABELS)
    if loaded:
        classifier.save(tmp_path / "model")
        classifier = TextClassifier.load(tmp_path / "model", threads=1)
    expected, before = classifier.predict(TEXTS).tolist(), classifier.get_params(deep=False)
    classifier.set_params(**change)
    calls: list[Any] = [
        classifier.predict,
        classifier.verdicts,
        classifier.embed,
        classifier.transform,
    ]
    for call in calls:
        with pytest.raises(
            ConfigError, match=r"changed after the training.*call fit again"
        ) as said:
            call(TEXTS)
        assert named in str(said.value)
    with pytest.raises(ConfigError, match="changed after the training"):
        classifier.save(tmp_path / "other")
    assert classifier.set_params(**before).predict(TEXTS).tolist() == expected


def test_a_changed_classifier_can_be_fitted_again() -> None:
    classifier = head().fit(TEXTS, LABELS).set_params(class_weight="balanced", seed=3)
    expected = head(class_weight="balanced", seed=3).fit(TEXTS, LABELS)
    assert classifier.fit(TEXTS, LABELS).fingerprint() == expected.fingerprint()
    assert classifier.predict(TEXTS).tolist() == expected.predict(TEXTS).tolist()


def test_settings_changed_in_place_are_seen() -> None:
    settings: dict[str, Any] = {"decision.abstain_rate": 0.3}
    classifier = head(settings=settings).fit(TEXTS, LABELS)
    settings["decision.abstain_rate"] = 0.0
    assert all(verdict.verdict != "unsure" for verdict in classifier.verdicts(TEXTS))
    settings["train.epochs"] = 7
    with pytest.raises(ConfigError, match=r"train.epochs = 7 \(trained with None\)"):
        classifier.predict(TEXTS)


def test_threads_and_number_type_can_be_changed(tmp_path: Path) -> None:
    head().fit(TEXTS, LABELS).save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    exact = loaded.predict_proba(TEXTS)
    assert loaded.set_params(threads=2).predictor_.compute.threads == 2
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), exact, atol=1e-6)
    half = loaded.set_params(dtype="bf16", threads=1).predict_proba(TEXTS)
    direct = TextClassifier.load(tmp_path / "model", threads=1, dtype="bf16")
    np.testing.assert_allclose(half, direct.predict_proba(TEXTS), atol=1e-6)
    assert np.abs(half - exact).max() > 1e-6 and loaded.recipe_.compute.dtype == "bf16"
    direct.set_params(dtype="fp32")  # whose full weights are read again
    np.testing.assert_allclose(direct.predict_proba(TEXTS), exact, atol=1e-6)
    direct.set_params(dtype="fp8")
    with pytest.raises(ConfigError, match="fp8"):
        direct.predict(TEXTS)


def test_more_than_two_classes_know_no_budget_and_keep_their_floor() -> None:
    labels = np.arange(len(TEXTS)) % 3
    classifier = head().fit(TEXTS, labels)
    none = head(settings={"decision.abstain_rate": 0.0}).fit(TEXTS, labels)
    assert classifier.set_params(settings__decision__abstain_rate=0.0).rule_ == none.rule_
    classifier.set_params(max_fpr=0.1)
    with pytest.raises(ConfigError, match="max_fpr needs two classes"):
        classifier.predict(TEXTS)
    classifier.set_params(max_fpr=None, positive=1)  # ignored, as fit ignores it
    assert len(classifier.predict(TEXTS)) == len(TEXTS)


def test_without_held_out_scores_the_change_says_so(tmp_path: Path) -> None:
    head().fit(TEXTS, LABELS).save(tmp_path / "model")
    path = tmp_path / "model" / "tamis.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    kept = meta.pop("held_out")
    path.write_text(json.dumps(meta), encoding="utf-8")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    loaded.predict(TEXTS)
    loaded.set_params(max_fpr=0.0)
    with pytest.raises(ConfigError, match="knows no scores of held-out rows"):
        loaded.predict(TEXTS)
    for damaged in ({"scores": "AAAA", "truth": ""}, {"scores": kept["scores"]}, 3, {"scores": 1}):
        path.write_text(json.dumps(meta | {"held_out": damaged}), encoding="utf-8")
        with pytest.raises(CheckpointError, match=r"tamis.json cannot be used"):
            TextClassifier.load(tmp_path / "model", threads=1)


def test_a_model_that_transformers_wrote_can_be_given_a_positive_class(tmp_path: Path) -> None:
    head().fit(TEXTS, LABELS).save(tmp_path / "model")
    (tmp_path / "model" / "tamis.json").unlink()
    foreign = TextClassifier.load(tmp_path / "model", threads=1)
    expected = foreign.predict(TEXTS).tolist()
    assert foreign.positive_ is None
    foreign.set_params(positive="spam")
    assert foreign.rule_.positive == "spam" and foreign.predict(TEXTS).tolist() == expected
    foreign.set_params(max_fpr=0.1)
    with pytest.raises(ConfigError, match="knows no scores of held-out rows"):
        foreign.predict(TEXTS)
