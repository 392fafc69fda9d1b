"""Texts longer than the context: which window decided, in every place that shows it; and what the
number of windows does to a verdict.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tamis import TextClassifier
from tamis.compute.matmul_benchmark import Dtype
from tamis.decision.verdict import DecisionRule
from tamis.decision.window_penalty import HIGHEST, LOWEST
from tamis.head.refit import LinearHead, head_of
from tests import runs
from tests.rows import messages
from tests.runs import tamis

SPAM = [text for label, text in messages() if label == "spam"]
HAM = [text for label, text in messages() if label == "ham" and text.strip()]


@cache
def classifier() -> TextClassifier:
    return TextClassifier.load(runs.finished_run(), threads=1)


def hidden(place: int, count: int = 40) -> str:
    return " ".join([*HAM[:place], SPAM[1], *HAM[place:count]])


@pytest.mark.parametrize("place", [0, 7, 20, 40])
def test_the_window_that_decided_is_the_one_with_the_largest_log_odds(place: int) -> None:
    model, text = classifier(), hidden(place)
    (verdict,) = model.verdicts([text])
    window = verdict.window
    assert window is not None
    ids = model.predictor_.tokenizer.encode([text])[0]
    windows = model.predictor_.encoder.windows(ids)
    size = model.recipe_.text.window
    assert size is not None and window.of == len(windows) > 10 and set(map(len, windows)) == {size}
    pieces = [
        model.predictor_.tokenizer.decode(ids[1:].tolist()) for ids in windows
    ]  # each as a text of its own, as far as it is one
    # A window may begin within a character of several tokens, which it cannot show alone.
    assert text[window.start : window.end].endswith(pieces[window.number].lstrip("\ufffd"))
    chances = model.predict_proba(pieces)[:, 1]
    best = np.log(chances / (1 - chances)).max()
    assert best == pytest.approx(
        np.log(verdict.probabilities["spam"] / verdict.probabilities["ham"]) + np.log(len(windows)),
        abs=0.3,
    )
    assert window.stop_token - window.first_token == size - 1
    assert (
        model.predictor_.tokenizer.backend.encode(text).offsets[window.first_token][0]
        == window.start
    )


def test_every_part_of_a_text_is_in_a_window() -> None:
    model = classifier()
    spans, size = model.predictor_.encoder.window_spans(1000), model.recipe_.text.window or 0
    assert (
        spans[0][0] == 1 and spans[-1][1] == 1000
    )  # the leading <|endoftext|> stands in all of them
    assert all(after[0] <= before[1] - (size - 1) // 2 for before, after in pairwise(spans))
    assert model.predictor_.encoder.window_spans(64) == [(0, 64)]  # the context


def test_ham_said_again_and_again_does_not_become_suspect_by_its_length() -> None:
    model = classifier()
    once = " ".join(HAM[:12])
    scores = model.predict_proba([" ".join([once] * times) for times in (1, 3, 9, 27)])[:, 1]
    assert scores[3] < scores[1] * 1.05


def test_windows_are_shown_only_when_asked_for() -> None:
    long, short = hidden(5), SPAM[2]
    plain = [
        json.loads(line)
        for line in tamis("predict", runs.finished_run(), long, short, "--json").out.splitlines()
    ]
    asked = [
        json.loads(line)
        for line in tamis(
            "predict", runs.finished_run(), long, short, "--json", "--windows"
        ).out.splitlines()
    ]
    assert [set(line) for line in plain] == [{"text", "label", "verdict", "probabilities"}] * 2
    assert asked[1]["window"] is None and asked[0]["window"]["of"] > 3
    assert [{k: v for k, v in line.items() if k != "window"} for line in asked] == plain


def test_a_smaller_window_is_a_setting_that_the_model_keeps(tmp_path: object) -> None:
    small = TextClassifier.load(runs.finished_run(), threads=1)
    small.recipe_ = small.recipe_.changed({"text.window": 16})
    encoder = replace(small.predictor_.encoder, window=16)
    small.predictor_ = replace(small.predictor_, encoder=encoder)
    (verdict,) = small.verdicts([hidden(5)])
    assert (
        verdict.window is not None and verdict.window.stop_token - verdict.window.first_token == 15
    )
    small.save(f"{tmp_path}/model")
    (again,) = TextClassifier.load(f"{tmp_path}/model", threads=1).verdicts([hidden(5)])
    assert again == verdict


def test_many_classes_are_averaged_and_the_window_is_named_all_the_same() -> None:
    labels = ["short" if len(text) < 30 else label for label, text in messages()]
    three = TextClassifier("scratch:tiny", "head", threads=1).fit(
        [text for _, text in messages()], labels
    )
    (verdict,) = three.verdicts([hidden(5)])
    windows = three.predictor_.encoder.windows(three.predictor_.tokenizer.encode([hidden(5)])[0])
    pieces = three.predict_proba(
        [three.predictor_.tokenizer.decode(ids[1:].tolist()) for ids in windows]
    )
    mean = np.exp(np.log(pieces).mean(0))
    np.testing.assert_allclose(list(verdict.probabilities.values()), mean / mean.sum(), atol=0.02)
    assert verdict.window is not None and verdict.window.of == len(windows)


def test_a_prior_and_costs_travel_with_the_model_and_transformers_scores_the_same(
    tmp_path: object,
) -> None:
    texts, labels = [text for _, text in messages()], [label for label, _ in messages()]
    settings = runs.settings(**{"decision.prior": 0.02, "decision.costs": "blocked=10,missed=1"})
    stated = TextClassifier(
        "scratch:tiny", threads=1, class_weight="balanced", settings=settings
    ).fit(texts, labels)
    assert (
        stated.rule_.threshold == pytest.approx(10 / 11)
        and stated.training_.shift[1] < stated.training_.shift[0]
    )
    trained = TextClassifier(
        "scratch:tiny",
        threads=1,
        class_weight="balanced",
        settings=runs.settings(**{"decision.prior": "trained"}),
    )
    before = trained.fit(texts, labels).predict_proba(texts[:9])
    after = stated.predict_proba(texts[:9])
    moved = (
        np.log(after[:, 1] / after[:, 0]) * stated.temperature_
        - np.log(before[:, 1] / before[:, 0]) * trained.temperature_
    )
    assert moved.std() < 1e-3 and moved.mean() < -2  # one shift for all
    stated.save(f"{tmp_path}/model")
    from pathlib import Path

    np.testing.assert_allclose(
        runs.scores_in_transformers(Path(f"{tmp_path}/model"), texts[:9]), after, atol=1e-5
    )
    np.testing.assert_allclose(
        TextClassifier.load(f"{tmp_path}/model", threads=1).predict_proba(texts[:9]),
        after,
        atol=1e-6,
    )


def test_the_command_line_takes_costs_a_prior_and_hardening(tmp_path: object) -> None:
    run = f"{tmp_path}/run"
    said = tamis(
        "train",
        runs.table(),
        *runs.TINY,
        *runs.EPOCH,
        "--cost",
        "blocked=4,missed=1",
        "--prior",
        "0.1",
        "--robust",
        "-o",
        run,
    )
    assert said.code == 0, said.err
    recipe = TextClassifier.load(run).recipe_
    assert recipe.decision.costs == {"blocked": 4.0, "missed": 1.0} and recipe.decision.prior == 0.1
    assert recipe.text.normalize == "robust" and recipe.train.augment_positives == 3.0
    assert TextClassifier.load(run).rule_.threshold == pytest.approx(0.8)
    assert tamis("train", runs.table(), "--cost", "blocked=4", "-o", f"{tmp_path}/other").code == 2
    assert tamis("train", runs.table(), "--prior", "2", "-o", f"{tmp_path}/other").code == 2


def test_the_penalty_for_many_windows_is_learnt_from_negatives_that_were_held_out(
    tmp_path: Path,
) -> None:
    texts, labels = [text for _, text in messages()] * 6, [label for label, _ in messages()] * 6
    texts = [
        hidden(5),
        *(f"{text} {number}" for number, text in enumerate(texts[1:])),
    ]  # one long text among 744 is none
    settings = runs.settings(**{"decision.cv_folds": 2, "train.epochs": 1})
    model = TextClassifier("scratch:tiny", "full", threads=1, settings=settings).fit(texts, labels)
    learnt = model.recipe_.text.window_penalty
    assert (
        learnt is not None
        and LOWEST <= learnt <= HIGHEST
        and model.predictor_.encoder.aggregation.penalty == learnt
    )
    model.save(tmp_path / "model")
    again = TextClassifier.load(tmp_path / "model", threads=1)
    assert (
        again.predictor_.encoder.aggregation.penalty == learnt
        and again.predict_proba([hidden(5)]).tolist() == model.predict_proba([hidden(5)]).tolist()
    )
    window = again.verdicts([hidden(5)])[0].window
    assert window is not None
    lowered = again.predict_proba([hidden(5)])[0]
    encoder = again.predictor_.encoder.with_penalty(0.0)
    again.predictor_ = replace(again.predictor_, encoder=encoder)
    plain = again.predict_proba([hidden(5)])[0]
    assert np.log(plain[1] / plain[0]) - np.log(lowered[1] / lowered[0]) == pytest.approx(
        learnt * np.log(window.of), abs=1e-5
    )


@pytest.mark.parametrize("reason", ["given", "long texts", "three classes", "exact head", "few"])
def test_no_penalty_is_learnt_where_it_is_given_or_nothing_could_be_learnt(reason: str) -> None:
    rows = messages() * (1 if reason == "few" else 6)
    texts, labels = (
        [f"{text} {number}" for number, (_, text) in enumerate(rows)],
        [label for label, _ in rows],
    )
    settings = runs.settings(**{"decision.cv_folds": 2, "train.epochs": 1})
    if reason == "given":
        settings |= {"text.window_penalty": 0.7}
    if reason == "long texts":
        texts[4::99] = [hidden(5)] * len(texts[4::99])
    if reason == "three classes":
        labels = [
            "short" if len(text) < 30 else label for text, label in zip(texts, labels, strict=True)
        ]
    model = TextClassifier(
        "scratch:tiny", "head" if reason == "exact head" else "full", threads=1, settings=settings
    ).fit(texts, labels)
    assert model.recipe_.text.window_penalty == (0.7 if reason == "given" else None)
    assert model.predictor_.encoder.aggregation.penalty == (0.7 if reason == "given" else 1.0)


def test_a_predictor_works_alone() -> None:
    """Its logits, probabilities and vectors are those of the classifier that it was taken from."""
    predictor, texts = classifier().predictor_, [*HAM[:9], SPAM[0], hidden(3), ""]
    logits = predictor.logits(texts)
    probabilities = predictor.probabilities(texts)
    np.testing.assert_allclose(
        np.exp(logits[:, 1] - logits[:, 0]), probabilities[:, 1] / probabilities[:, 0]
    )
    np.testing.assert_array_equal(probabilities, classifier().predict_proba(texts))
    vectors, again = predictor.embed_and_score(texts)
    np.testing.assert_allclose(np.diff(again), np.diff(logits), atol=1e-3)
    np.testing.assert_array_equal(vectors, predictor.embed(texts))
    assert (
        predictor.logits([]).shape == (0, 2)
        and predictor.fingerprint() == classifier().fingerprint()
    )


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_another_head_on_the_same_trunk_leaves_the_predictor_as_it_is(dtype: Dtype) -> None:
    own = classifier().predictor_
    predictor = replace(own, compute=replace(own.compute, dtype=dtype))
    before = predictor.logits(HAM[:5])
    head = head_of(predictor.model)
    other = predictor.with_head(LinearHead(-head.weight, -head.bias))
    np.testing.assert_allclose(
        other.logits(HAM[:5]), -(before - before.mean(1)[:, None]), atol=1e-3
    )
    np.testing.assert_array_equal(predictor.logits(HAM[:5]), before)
    assert other.model.transformer.h is predictor.model.transformer.h


def test_a_decision_rule_and_a_predictor_make_the_verdicts() -> None:
    model, texts = classifier(), [HAM[0], SPAM[0], hidden(3)]
    rule = DecisionRule(positive="spam", threshold=0.0)
    found = model.predictor_.verdicts(texts, rule, ["ham", "spam"])
    assert [verdict.label for verdict in found] == ["spam"] * 3
    assert [verdict.window is not None for verdict in found] == [False, False, True]
    assert [verdict.window for verdict in found] == [v.window for v in model.verdicts(texts)]
