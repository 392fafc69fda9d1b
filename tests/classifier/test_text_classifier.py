"""TextClassifier: what it learns and answers, and scikit-learn's contract, point by point.

scikit-learn's own checks are in test_sklearn_contract.py, what may be passed as texts and labels in
test_inputs.py, parameters in test_base.py.
"""

from __future__ import annotations

import inspect
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from tamis import ConfigError, DataError, NotFittedError, TextClassifier
from tamis.head.refit import head_of
from tests import runs
from tests.rows import messages

ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]
FEW = [
    LABELS.index("ham"),
    LABELS.index("ham") + 2,
    LABELS.index("spam"),
    len(LABELS) - 1 - LABELS[::-1].index("spam"),
]


def tiny(**settings: Any) -> TextClassifier:
    return TextClassifier("scratch:tiny", threads=1, settings=runs.settings(**settings))


def head(**arguments: Any) -> TextClassifier:
    """The cheapest one: a random trunk, only its head solved."""
    return TextClassifier("scratch:tiny", "head", threads=1, **arguments)


@cache
def fitted() -> TextClassifier:
    return tiny().fit(TEXTS, LABELS)


@cache
def fitted_head() -> TextClassifier:
    return head().fit(TEXTS, LABELS)


def test_the_constructor_only_stores_its_arguments() -> None:
    arguments: dict[str, Any] = {
        name: object() for name in inspect.signature(TextClassifier).parameters
    }
    classifier = TextClassifier(**arguments)
    assert vars(classifier) == arguments


def test_parameters_can_be_read_set_and_cloned() -> None:
    classifier = TextClassifier("gpt2", "blocks:2", max_fpr=0.01, settings={"train.epochs": 3})
    assert set(classifier.get_params(deep=False)) == set(
        inspect.signature(TextClassifier).parameters
    )
    assert classifier.set_params(tune="full", seed=7) is classifier
    copied = clone(classifier)
    assert copied is not classifier and copied.get_params() == classifier.get_params()
    assert (copied.tune, copied.seed, copied.max_fpr, copied.settings) == (
        "full",
        7,
        0.01,
        {"train.epochs": 3},
    )
    with pytest.raises(
        ValueError,
        match="TextClassifier has no parameter 'tunes'; its parameters are backbone, tune, ",
    ):
        classifier.set_params(tunes="full")


def test_a_clone_of_a_fitted_one_is_not_fitted() -> None:
    assert not hasattr(clone(fitted_head()), "classes_")


def test_it_is_a_classifier_to_scikit_learn() -> None:
    assert is_classifier(head())
    assert "scratch:tiny" in repr(head())


def test_fit_returns_itself_and_sorts_the_classes() -> None:
    classifier = head()
    assert classifier.fit(TEXTS, LABELS) is classifier
    assert classifier.classes_.tolist() == ["ham", "spam"] and classifier.positive_ == "spam"


def test_probabilities_stand_in_the_order_of_the_classes_and_sum_to_one() -> None:
    probabilities = fitted().predict_proba(TEXTS)
    assert probabilities.shape == (124, 2) and probabilities.dtype == np.float64
    assert np.allclose(probabilities.sum(1), 1)
    spam = np.array(LABELS) == "spam"
    assert (
        probabilities[spam, 1].mean() > probabilities[~spam, 1].mean() + 0.05
    )  # columns are not swapped


def test_labels_follow_the_stored_threshold_not_the_most_probable_class() -> None:
    classifier = tiny().fit(TEXTS, LABELS)
    scores = classifier.predict_proba(TEXTS)[:, 1]
    middle = float(np.median(scores))
    classifier.rule_ = type(classifier.rule_)(positive="spam", threshold=middle)
    assert (classifier.predict(TEXTS) == "spam").tolist() == (scores >= middle).tolist()


def test_no_texts_give_no_answers() -> None:
    assert fitted().predict_proba([]).shape == (0, 2)
    assert fitted().predict([]).shape == (0,) and fitted().verdicts([]) == []


@pytest.mark.parametrize("make", [fitted, fitted_head])
def test_a_score_depends_on_no_other_text_and_on_no_order(make: Any, tmp_path: Path) -> None:
    make().save(tmp_path / "model")
    classifier = TextClassifier.load(
        tmp_path / "model", threads=1
    )  # loaded: nothing is remembered from the fit
    together = classifier.predict_proba(TEXTS)
    order = np.random.default_rng(1).permutation(len(TEXTS))
    assert np.allclose(
        classifier.predict_proba([TEXTS[i] for i in order]), together[order], atol=1e-6
    )
    for i in (0, 17, 60):
        assert np.allclose(classifier.predict_proba([TEXTS[i]])[0], together[i], atol=1e-6)
    assert np.allclose(make().predict_proba(TEXTS), together, atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    again = tiny().fit(TEXTS, LABELS)
    assert again.fingerprint() == fitted().fingerprint()
    assert again.training_.history == fitted().training_.history and again.rule_ == fitted().rule_
    assert tiny().set_params(seed=43).fit(TEXTS, LABELS).fingerprint() != fitted().fingerprint()


def test_fitting_again_forgets_what_was_learned_before() -> None:
    classifier = head().fit(["to be", "or not", "to bee", "or nut"] * 3, ["b", "o", "b", "o"] * 3)
    classifier.fit(TEXTS, LABELS)
    assert classifier.fingerprint() == fitted_head().fingerprint()
    assert classifier.classes_.tolist() == ["ham", "spam"]
    assert np.array_equal(classifier.predict_proba(TEXTS), fitted_head().predict_proba(TEXTS))


def test_fitting_again_after_a_prediction_in_another_type_forgets_the_cast_model() -> None:
    half = head(dtype="bf16").fit(TEXTS[:60], LABELS[:60])
    half.predict_proba(["a text of its own"])
    half.fit(TEXTS, LABELS)
    fresh = head(dtype="bf16").fit(TEXTS, LABELS)
    assert np.allclose(
        half.predict_proba(["a text of its own"]), fresh.predict_proba(["a text of its own"])
    )


@pytest.mark.parametrize("tune", ["head", "full"])
def test_two_rows_a_class_are_enough(tune: str) -> None:
    classifier = TextClassifier("scratch:tiny", tune, threads=1, settings={"train.epochs": 1})
    classifier.fit([TEXTS[i] for i in FEW], [LABELS[i] for i in FEW])
    assert np.isfinite(classifier.predict_proba(TEXTS[:5])).all()
    assert set(classifier.predict(TEXTS)) <= {"ham", "spam"}


def test_one_row_of_a_class_is_enough_too() -> None:
    assert len(head().fit([*TEXTS[:9], "WIN"], ["ham"] * 9 + ["spam"]).predict(TEXTS[:3])) == 3


@pytest.mark.parametrize(
    ("kind", "spam", "ham"),
    [
        ("int", 1, 0),
        ("int", 7, -3),
        ("float", 2.0, 0.0),
        ("bool", True, False),
        ("str", "spam", "ham"),
    ],
)
def test_labels_keep_their_type_through_fit_save_and_load(
    kind: str, spam: Any, ham: Any, tmp_path: Path
) -> None:
    labels = [spam if label == "spam" else ham for label in LABELS]
    classifier = head().fit(TEXTS, labels)
    classifier.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model", threads=1)
    for each in (classifier, loaded):
        assert each.classes_.tolist() == sorted([ham, spam])
        assert {type(label).__name__ for label in each.predict(TEXTS).tolist()} == {kind}
    assert loaded.predict(TEXTS).tolist() == classifier.predict(TEXTS).tolist()
    assert loaded.positive_ == str(spam)


def test_numbers_are_sorted_as_numbers() -> None:
    classifier = head().fit(["one a", "two b", "ten c"] * 4, [2, 1, 10] * 4)
    assert classifier.classes_.tolist() == [1, 2, 10]
    assert classifier.predict_proba(["ten c"]).shape == (1, 3)


def test_a_positive_label_may_be_given_as_it_stands_in_the_data() -> None:
    labels = [int(label == "spam") for label in LABELS]
    assert head(positive=0).fit(TEXTS, labels).positive_ == "0"


def test_columns_of_pandas_are_accepted_and_keep_their_type() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS, "label": LABELS}).sample(frac=1, random_state=2)
    classifier = head().fit(frame["text"], frame["label"])
    assert len(classifier.predict(frame["text"])) == 124
    for dtype in ("int64", "Int64", object):
        numbers = pandas.Series([int(label == "spam") for label in LABELS], dtype=dtype)
        assert head().fit(pandas.Series(TEXTS), numbers).classes_.tolist() == [0, 1]
    flags = pandas.Series([label == "spam" for label in LABELS], dtype="boolean")
    assert head().fit(pandas.Series(TEXTS), flags).classes_.tolist() == [False, True]
    category = frame["label"].astype("category")
    assert head().fit(frame["text"], category).classes_.tolist() == ["ham", "spam"]


def test_arrays_and_iterators_of_texts_are_accepted() -> None:
    assert (
        head().fit(np.array(TEXTS), np.array(LABELS, dtype=object)).fingerprint()
        == fitted_head().fingerprint()
    )
    assert head().fit(iter(TEXTS), LABELS).fingerprint() == fitted_head().fingerprint()


def test_cross_validation_and_grid_search_work() -> None:
    scores = cross_val_score(head(), TEXTS, LABELS, cv=2)
    assert scores.shape == (2,) and (scores > 0.5).all()
    search = GridSearchCV(
        head(), {"class_weight": ["none", "balanced"]}, cv=2, scoring="average_precision"
    ).fit(np.array(TEXTS), np.array(LABELS) == "spam")
    assert search.best_params_["class_weight"] in ("none", "balanced")
    probabilities = cross_val_predict(head(), TEXTS, LABELS, cv=2, method="predict_proba")
    assert probabilities.shape == (124, 2)


def test_it_can_be_the_last_step_of_a_pipeline() -> None:
    pipeline = Pipeline(
        [
            ("lower", FunctionTransformer(lambda texts: [t.lower() for t in texts])),
            ("classify", head()),
        ]
    )
    with pytest.raises(SklearnNotFittedError):
        pipeline.predict(TEXTS)
    pipeline.fit(TEXTS, LABELS)
    assert pipeline.classes_.tolist() == ["ham", "spam"]
    assert pipeline.predict(["HELLO"]).tolist() == pipeline.predict(["hello"]).tolist()
    assert pipeline.score(TEXTS, LABELS) > 0.7
    pipeline.set_params(classify__seed=5)
    assert pipeline.named_steps["classify"].seed == 5


def test_a_fitted_one_survives_pickling_by_its_user() -> None:
    again = pickle.loads(pickle.dumps(fitted_head()))
    found, expected = again.predict_proba(TEXTS), fitted_head().predict_proba(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "call",
    [lambda c: c.predict(["x"]), lambda c: c.predict_proba(["x"]), lambda c: c.verdicts(["x"])],
)
def test_before_fit_the_error_says_what_to_call(call: Any) -> None:
    with pytest.raises(
        NotFittedError,
        match=r"this TextClassifier is not fitted yet; call fit\(texts, labels\) or "
        r"TextClassifier.load",
    ):
        call(head())


def test_saving_before_fit_says_what_to_call(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match=r"not fitted yet; call fit\(texts, labels\)"):
        head().save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_fit_that_fails_leaves_nothing_fitted() -> None:
    classifier = head().fit(TEXTS, LABELS)
    with pytest.raises(DataError):
        classifier.fit(TEXTS, ["ham"] * 124)
    with pytest.raises(NotFittedError):
        classifier.predict(TEXTS)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_label_is_named_by_its_place(missing: Any) -> None:
    labels: list[Any] = list(LABELS)
    labels[5] = missing
    with pytest.raises(DataError, match=r"labels\[5\] is missing; label the row or drop it"):
        head().fit(TEXTS, np.array(labels, dtype=object))


def test_missing_numbers_and_pandas_na_are_missing_labels() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match=r"labels\[2\] is missing"):
        head().fit(TEXTS[:4], [0.0, 1.0, float("nan"), 1.0])
    with pytest.raises(DataError, match=r"labels\[3\] is missing"):
        head().fit(TEXTS[:4], pandas.Series([0, 1, 0, None], dtype="Int64"))


def test_what_cannot_be_fitted_is_refused_with_the_place() -> None:
    with pytest.raises(
        DataError, match=r"texts\[1\]: expected a string, got int \(3\); convert or drop the row"
    ):
        head().fit(["a", 3], ["x", "y"])  # type: ignore[list-item]
    with pytest.raises(
        DataError, match="labels must be one for each of the 2 texts; got an array of shape"
    ):
        head().fit(["a", "b"], ["x"])
    with pytest.raises(DataError, match=r"needs at least two classes; got 1 \(x\)"):
        head().fit(["a", "b"], ["x", "x"])
    with pytest.raises(DataError, match="at least two classes; got 0"):
        head().fit([], [])
    with pytest.raises(DataError, match=r"texts\[0\]: expected a string, got NoneType"):
        fitted_head().predict([None])  # type: ignore[list-item]


def test_a_wrong_argument_is_refused_at_fit() -> None:
    with pytest.raises(ConfigError, match="tune"):
        TextClassifier("scratch:tiny", "hed").fit(TEXTS, LABELS)
    with pytest.raises(
        ConfigError, match=r"unknown setting 'train.epoch'; did you mean 'train.epochs'"
    ):
        TextClassifier("scratch:tiny", settings={"train.epoch": 1}).fit(TEXTS, LABELS)
    with pytest.raises(ConfigError, match="did you mean 'scratch:tiny'"):
        TextClassifier("scratch:tinny").fit(TEXTS, LABELS)
    with pytest.raises(ConfigError, match="names 'eggs', which is not one of the labels"):
        head(class_weight={"eggs": 2.0}).fit(TEXTS, LABELS)
    with pytest.raises(
        ConfigError, match=r"positive label: expected one of 'ham', 'spam', got 'spma'"
    ):
        head(positive="spma").fit(TEXTS, LABELS)


def test_a_lone_surrogate_is_an_error_and_odd_texts_are_texts() -> None:
    with pytest.raises(DataError, match="text 1 is not valid Unicode"):
        fitted().predict_proba(["fine", "half \ud83d of a pair"])
    odd = ["", "\0", "<|endoftext|>", "👨‍👩‍👧‍👦", "e\u0301", " " * 50, "x" * 3000]
    probabilities = fitted().predict_proba(odd)
    assert np.isfinite(probabilities).all() and np.allclose(probabilities.sum(1), 1)


def test_a_text_longer_than_the_context_is_not_cut() -> None:
    start = " ".join(TEXTS[:12])  # far beyond 64 tokens
    one, other = fitted().predict_proba(
        [start + " ok see u", start + " FREE prize! call 0900 now, claim £500"]
    )
    assert abs(one[1] - other[1]) > 1e-4


def test_held_out_rows_named_by_the_caller_are_used() -> None:
    validation = np.arange(0, 124, 3)
    classifier = tiny().fit(TEXTS, LABELS, validation=validation)
    assert classifier.training_.held_out.tolist() == validation.tolist()
    assert classifier.training_.held_out_probabilities.shape == (42, 2)


def test_a_budget_is_read_off_all_rows_and_all_are_learnt() -> None:
    quick = {"train.epochs": 1, "decision.max_fpr": 0.1}
    classifier = TextClassifier("nano", threads=1, settings=quick).fit(TEXTS[:32], LABELS[:32])
    assert classifier.recipe_.decision.cv_folds == 5 and classifier.training_.cross_validated
    assert classifier.training_.held_out.tolist() == list(
        range(32)
    ) and classifier.training_.held_out_probabilities.shape == (32, 2)
    named = TextClassifier("nano", threads=1, settings=quick).fit(
        TEXTS[:32], LABELS[:32], validation=np.arange(0, 32, 4)
    )
    assert named.recipe_.decision.cv_folds == 0 and len(named.training_.held_out) == 8


def test_repeats_never_stand_on_both_sides_of_the_held_out_rows() -> None:
    texts = [*TEXTS, *(text.upper() for text in TEXTS)]
    classifier = tiny().fit(texts, [*LABELS, *LABELS])
    held = {texts[i].casefold() for i in classifier.training_.held_out}
    kept = {
        texts[i].casefold()
        for i in set(range(len(texts))) - set(classifier.training_.held_out.tolist())
    }
    assert held and not held & kept


def test_scikit_learn_takes_it_for_a_classifier_although_it_does_not_inherit() -> None:
    from sklearn.base import is_classifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.utils import get_tags

    classifier = TextClassifier(seed=7, tune="full")
    assert is_classifier(classifier)
    assert (
        get_tags(classifier).estimator_type
        == get_tags(LogisticRegression()).estimator_type
        == "classifier"
    )
    assert repr(classifier) == "TextClassifier(tune='full', seed=7)"


def three_classes() -> TextClassifier:
    labels = [["one", "two", "three"][row % 3] for row in range(60)]
    return head().fit(
        [f"{label} {text}" for label, text in zip(labels, TEXTS[:60], strict=True)], labels
    )


def test_decision_function_is_the_log_odds_of_two_classes_and_the_logits_of_more() -> None:
    probabilities = fitted_head().predict_proba(TEXTS)
    scores = fitted_head().decision_function(TEXTS)
    assert scores.shape == (124,)
    np.testing.assert_allclose(scores, np.log(probabilities[:, 1] / probabilities[:, 0]), atol=1e-6)
    assert fitted_head().decision_function(TEXTS[:1]) == pytest.approx(scores[:1], abs=1e-4)
    three = three_classes()
    logits = three.decision_function(TEXTS[:4])
    assert logits.shape == (4, 3)
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(
        three.predict_proba(TEXTS[:4]), exponents / exponents.sum(1, keepdims=True)
    )
    scored = cross_val_score(head(), TEXTS, np.array(LABELS) == "spam", cv=2, scoring="roc_auc")
    assert (scored > 0.5).all()


@pytest.mark.parametrize("make", [fitted, fitted_head])
def test_embeddings_are_what_the_head_reads(make: Any) -> None:
    vectors = make().embed(TEXTS)
    assert vectors.shape == (124, make().predictor_.model.transformer.config.n_embd)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    logits = head_of(make().predictor_.model).logits(vectors)
    np.testing.assert_allclose(
        logits[:, 1] - logits[:, 0], make().decision_function(TEXTS), atol=1e-3
    )
    np.testing.assert_allclose(make().embed(TEXTS[3:4]), vectors[3:4], atol=1e-5)
    assert make().embed([]).shape == (0, vectors.shape[1])


def test_evaluate_gives_the_figures_at_the_stored_threshold() -> None:
    classifier = fitted_head()
    found = classifier.evaluate(TEXTS, LABELS)
    assert found["n"] == 124
    assert found["accuracy"] == pytest.approx(
        (classifier.predict(TEXTS) == np.array(LABELS)).mean()
    )
    assert found["ci95"]["accuracy"][0] < found["accuracy"] <= found["ci95"]["accuracy"][1]
    with pytest.raises(DataError, match="eggs"):
        classifier.evaluate(["a", "b"], ["ham", "eggs"])
    # as with the name spam, one class is looked for
    numbers = head(positive=1).fit(TEXTS, [int(label == "spam") for label in LABELS])
    again = numbers.evaluate(TEXTS, [int(label == "spam") for label in LABELS])
    assert again["confusion"] == found["confusion"]


def test_explain_is_the_explanation_of_the_text() -> None:
    from tamis.classifier.explain import explain

    text = "You have won a prize, call now"
    assert fitted_head().explain(text) == explain(fitted_head(), text)
    assert fitted_head().explain(text, label="ham").explained == "ham"


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.decision_function(["x"]),
        lambda c: c.embed(["x"]),
        lambda c: c.evaluate(["x"], ["ham"]),
        lambda c: c.explain("x"),
    ],
)
def test_before_fit_every_question_is_refused(call: Any) -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        call(head())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 3}, "it is a setting: pass settings={'train.epochs': 3}"),
        ({"train__epochs": 3}, "it is a setting: pass settings={'train.epochs': 3}"),
        ({"normalize": "robust"}, "pass settings={'text.normalize': 'robust'}"),
        ({"bakbone": "gpt2"}, "goes into settings={...}; did you mean 'backbone'?"),
        ({"learnin_rate": 1}, "goes into settings={...}; did you mean 'learning_rate'?"),
        ({"nonsense": 1}, "its parameters are backbone, tune, "),
    ],
)
def test_an_unknown_parameter_names_the_right_way(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match="TextClassifier has no parameter") as caught:
        TextClassifier(**given)
    assert message in str(caught.value)
    with pytest.raises(ConfigError) as set_later:
        TextClassifier().set_params(**given)
    assert message in str(set_later.value)
