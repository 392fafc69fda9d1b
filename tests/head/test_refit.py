"""A head solved again: the optimum of the written-out objective, whatever it starts from, on
features that score as the model does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.pooling import add_mean_pooling
from tamis.gpt2.scoring import score
from tamis.head.refit import (
    LinearHead,
    Problem,
    features_of,
    head_of,
    solve_again,
    with_head,
)
from tamis.text.encoding import EncodedTexts
from tests.head.test_linear_head import rows
from tests.tiny import CONFIG, trunk


def shared(targets: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Targets of which some are shared between the classes."""
    wanted = np.eye(classes)[targets]
    wanted[::3] = softmax(np.random.default_rng(5).normal(size=wanted[::3].shape), axis=1)
    return wanted


def objective(
    flat: NDArray[np.float64],
    features: NDArray,
    wanted: NDArray,
    weights: NDArray,
    c: float,
    towards: NDArray | None,
) -> float:
    """The docstring of `solve_again`, row by row; the bias is penalised only where there is
    something to pull towards.
    """
    classes = wanted.shape[1]
    theta = flat.reshape(classes, -1)
    losses = -(wanted * log_softmax(features @ theta[:, :-1].T + theta[:, -1], axis=1)).sum(1)
    away = theta[:, :-1] if towards is None else theta - towards
    return float(
        c * (weights * losses).sum() + (1.0 if classes == 2 else 0.5) * np.square(away).sum()
    )


@pytest.mark.parametrize("pulled", [False, True], ids=["towards zero", "towards a head"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_solution_is_the_optimum_of_the_written_out_objective(
    classes: int, pulled: bool
) -> None:
    features, targets = rows(classes)
    wanted = shared(targets, classes)
    weights = np.random.default_rng(1).uniform(0, 3, len(targets))
    anchor = LinearHead(*head(classes)) if pulled else None
    towards = None if anchor is None else np.concatenate([anchor.weight, anchor.bias[:, None]], 1)
    problem = Problem(features, wanted, weights, 20.0, anchor)
    found = solve_again(problem, start=anchor or LinearHead.zero(classes, 7))
    ours = np.concatenate([found.head.weight, found.head.bias[:, None]], 1)
    best = minimize(
        objective,
        np.zeros(ours.size),
        (features, wanted, weights, 20.0, towards),
        method="BFGS",
        options={"gtol": 1e-7},
    )
    there = best.x.reshape(classes, -1)
    assert found.converged
    logits = [features @ theta[:, :-1].T + theta[:, -1] for theta in (ours, there)]
    np.testing.assert_allclose(
        log_softmax(logits[0], axis=1), log_softmax(logits[1], axis=1), atol=1e-4
    )


def head(classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A head whose rows sum to zero over channels and over classes."""
    generator = np.random.default_rng(3)
    weight, bias = generator.normal(size=(classes, 7)) * 2, generator.normal(size=classes)
    weight -= weight.mean(1, keepdims=True)
    return weight - weight.mean(0), bias - bias.mean()


def test_it_is_what_scikit_learn_finds_with_its_most_exact_solver() -> None:
    features, targets = rows(2)
    weights = np.where(targets == 1, 2.5, 1.0)
    model = LogisticRegression(C=300.0, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(
        features, targets, weights
    )
    found = solve_again(
        Problem(features, np.eye(2)[targets], weights, 300.0), start=LinearHead.zero(2, 7)
    )
    logits = found.head.logits(features)
    np.testing.assert_allclose(
        logits[:, 1] - logits[:, 0], features @ model.coef_[0] + model.intercept_[0], atol=1e-4
    )


def test_neither_the_start_nor_the_coordinates_change_the_optimum_and_a_near_start_is_cheaper() -> (
    None
):
    features, targets = rows(2)
    wanted, weights = np.eye(2)[targets], np.ones(len(targets))
    cold = solve_again(Problem(features, wanted, weights, 1e3), start=LinearHead.zero(2, 7))
    warm = solve_again(Problem(features, wanted, weights, 1e3), start=cold.head)
    other = solve_again(
        Problem(features[:40], wanted[:40], weights[:40], 1e3), start=LinearHead(*head(2))
    )
    across = solve_again(
        Problem(features, wanted, weights, 1e3), start=other.head, metric=other.metric
    )
    for found in (warm, across):
        np.testing.assert_allclose(
            found.head.logits(features), cold.head.logits(features), atol=1e-4
        )
    assert warm.evaluations < cold.evaluations < 100


def test_a_row_of_weight_two_is_the_row_twice_and_of_weight_nothing_is_not_there() -> None:
    features, targets = rows(3)
    wanted, weights = np.eye(3)[targets], np.ones(len(targets))
    weights[5], weights[9] = 2, 0
    twice = np.r_[np.delete(np.arange(len(targets)), 9), 5]
    start = LinearHead.zero(3, 7)
    one = solve_again(Problem(features, wanted, weights, 10.0), start=start)
    two = solve_again(
        Problem(features[twice], wanted[twice], np.ones(len(twice)), 10.0), start=start
    )
    np.testing.assert_allclose(one.head.logits(features), two.head.logits(features), atol=1e-4)


def test_rows_that_ask_for_what_a_head_says_leave_it_as_it_is() -> None:
    features, _ = rows(3)
    anchor = LinearHead(*head(3))
    wanted = softmax(anchor.logits(features), axis=1)
    problem = Problem(features, wanted, np.ones(len(features)), 100.0, anchor)
    found = solve_again(problem, start=anchor)
    np.testing.assert_allclose(found.head.weight, anchor.weight, atol=1e-12)
    np.testing.assert_allclose(found.head.bias, anchor.bias, atol=1e-12)


def classifier(classes: int = 3) -> GPT2Classifier:
    model = GPT2Classifier(add_mean_pooling(trunk()), classes)
    torch.manual_seed(1)
    for tensor in (model.transformer.ln_f.weight, model.transformer.ln_f.bias, model.score.weight):
        torch.nn.init.normal_(tensor)
    return model.requires_grad_(False).eval()


def messages(context: int = 23) -> EncodedTexts:
    """Seven texts, one of them repeated and one in two windows."""
    generator = np.random.default_rng(2)
    lengths = [5, 2, 11, 23, 7, 1, 9]
    windows = tuple(generator.integers(0, 37, length).astype(np.int32) for length in lengths)
    return EncodedTexts(windows, np.array([0, 1, 2, 4, 5, 6, 7]), np.array([0, 1, 2, 3, 4, 5, 1]))


def test_features_and_head_give_the_models_scores_long_texts_included() -> None:
    model, some = classifier(), messages()
    features = features_of(model.transformer, some)
    assert features.dtype == np.float32 and np.square(features[:2]).sum(1) == pytest.approx(
        [1, 1], abs=1e-4
    )
    ours, theirs = head_of(model).logits(features), score(model, some)
    np.testing.assert_allclose(
        ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=1e-4
    )
    assert np.array_equal(features[1], features[6])


def test_no_texts_have_no_features() -> None:
    nothing = EncodedTexts((), np.array([0]), np.empty(0, dtype=np.int64))
    assert features_of(trunk(), nothing).shape == (0, CONFIG.n_embd)


def test_another_head_shares_the_trunk_and_leaves_the_model_as_it_was() -> None:
    model, some = classifier(), messages()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = np.random.default_rng(4)
    other = LinearHead(generator.normal(size=(3, CONFIG.n_embd)), generator.normal(size=3))
    changed = with_head(model, other)
    features = features_of(model.transformer, some)
    np.testing.assert_allclose(score(changed, some), other.logits(features), atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    own = dict(changed.named_parameters())
    for name, tensor in model.named_parameters():
        alone = name.startswith(("transformer.ln_f", "score"))
        assert (own[name].data_ptr() == tensor.data_ptr()) != alone, name
    back: Any = head_of(changed)
    shifted = other.weight - other.weight.mean(1, keepdims=True)
    np.testing.assert_allclose(back.weight, shifted - shifted.mean(0), atol=1e-5)
