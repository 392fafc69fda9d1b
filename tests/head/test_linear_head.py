"""The exact head against an optimum found from the written-out objective, and its folding into
GPT-2's files.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from tamis.data.folds import stratified_group_folds
from tamis.gpt2.checkpoints import read_checkpoint, write_checkpoint
from tamis.gpt2.model import GPT2Classifier
from tamis.head import linear_head as module
from tamis.head.linear_head import (
    DEFAULT,
    HeadRows,
    HeadSearch,
    fit_head,
    fold_into,
    in_their_span,
    length_one,
    solve,
)
from tamis.head.logistic_regression import LinearHead, Problem, solve_again
from tests.tiny import CONFIG, trunk


def rows(
    classes: int, count: int = 61, width: int = 7
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    random = np.random.default_rng(classes)
    centres = random.normal(size=(classes, width))
    targets = np.arange(count) % classes
    return length_one(
        (centres[targets] + 1.3 * random.normal(size=(count, width))).astype(np.float32), 1e-5
    ), targets


def objective(
    flat: NDArray[np.float64],
    features: NDArray,
    targets: NDArray,
    row_weights: NDArray,
    inverse_penalty: float,
    k: int,
) -> float:
    """Penalised cross-entropy in the softmax form, written out. For two classes scikit-learn
    penalises one vector w, which is (-w/2, w/2) here: |w|^2 / 2 is the whole square of the matrix,
    not half of it.
    """
    weight, bias = flat[:-k].reshape(k, -1), flat[-k:]
    losses = -log_softmax(features @ weight.T + bias, axis=1)[np.arange(len(targets)), targets]
    return float(
        (1.0 if k == 2 else 0.5) * np.square(weight).sum()
        + inverse_penalty * (row_weights * losses).sum()
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("inverse_penalty", [1.0, 100.0])
def test_the_solution_is_the_optimum_of_the_written_out_objective(
    classes: int, inverse_penalty: float
) -> None:
    features, targets = rows(classes)
    class_weights = np.array([1.0, 2.5, 0.5])[:classes]
    found_head = solve(features, targets, class_weights[targets], inverse_penalty)
    weight, bias = found_head.head.weight, found_head.head.bias
    assert found_head.converged and weight.shape == (classes, 7) and bias.shape == (classes,)
    about = (features, targets, class_weights[targets], inverse_penalty, classes)
    ours = np.concatenate([weight.ravel(), bias])
    best = minimize(
        objective,
        np.zeros_like(ours),
        about,
        method="BFGS",
        options={"gtol": 1e-6, "maxiter": 2000},
    )
    assert objective(ours, *about) == pytest.approx(best.fun, rel=1e-6)
    found = log_softmax(features @ weight.T + bias, axis=1)
    k = classes
    expected = log_softmax(features @ best.x[:-k].reshape(k, -1).T + best.x[-k:], axis=1)
    np.testing.assert_allclose(found, expected, atol=3e-3)
    step = 1e-5
    for place in range(len(ours)):
        nudge = np.zeros_like(ours)
        nudge[place] = step
        slope = (objective(ours + nudge, *about) - objective(ours - nudge, *about)) / (2 * step)
        assert abs(slope) < 1e-3 * inverse_penalty


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_weight_of_two_is_every_row_twice(classes: int) -> None:
    features, targets = rows(classes)
    twice = np.concatenate([np.arange(61), np.flatnonzero(targets == 1)])
    weighted = solve(features, targets, np.array([1.0, 2.0, 1.0])[targets], 10.0).head
    repeated = solve(features[twice], targets[twice], np.ones(len(twice)), 10.0).head
    np.testing.assert_allclose(weighted.weight, repeated.weight, atol=1e-5)
    np.testing.assert_allclose(weighted.bias, repeated.bias, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
def test_at_the_weakest_penalty_the_optimum_is_that_of_newtons_method(classes: int) -> None:
    """C = 1e4 on classes that lines can nearly part: where a loose tolerance leaves logits off by
    whole units.
    """
    random = np.random.default_rng(7)
    centres, targets = random.normal(size=(classes, 11)), np.arange(121) % classes
    features = length_one(
        (centres[targets] + 0.7 * random.normal(size=(121, 11))).astype(np.float32), 1e-5
    )
    found = solve(features, targets, np.ones(121), module.CANDIDATES[-1])
    expected = newton(features, targets, module.CANDIDATES[-1], classes)
    assert found.converged and np.abs(expected).max() > 10
    np.testing.assert_allclose(found.head.logits(features), expected, atol=1e-4)


def newton(features: NDArray, targets: NDArray, inverse_penalty: float, k: int) -> NDArray:
    """(N, K) centred logits by Newton's method with the whole Hessian, until no slope is left that
    doubles can show.
    """
    rows = np.concatenate([features, np.ones((len(features), 1))], 1)
    width = rows.shape[1]
    ridge = np.tile(np.append(np.full(width - 1, 2.0 if k == 2 else 1.0), 0.0), k)
    theta = np.zeros(k * width)
    for _ in range(99):
        logits = rows @ theta.reshape(k, width).T
        p = np.exp(log_softmax(logits, axis=1))
        slope = inverse_penalty * ((p - np.eye(k)[targets]).T @ rows).ravel() + ridge * theta
        if np.abs(slope).max() < 1e-7:
            break
        curvature = np.einsum(
            "nkl,ni,nj->kilj",
            p[:, :, None] * np.eye(k) - p[:, :, None] * p[:, None],
            rows,
            rows,
            optimize=True,
        )
        step = np.linalg.lstsq(
            inverse_penalty * curvature.reshape(k * width, -1) + np.diag(ridge), slope, rcond=1e-14
        )[0]
        about = (features, targets, np.ones(len(features)), inverse_penalty, k)

        def value(at: NDArray, about: tuple = about) -> float:
            square = at.reshape(k, width)
            return objective(np.concatenate([square[:, :-1].ravel(), square[:, -1]]), *about)

        size = 1.0
        while value(theta - size * step) > value(theta) and size > 1e-9:
            size /= 2
        theta = theta - size * step
    assert np.abs(slope).max() < 1e-4, np.abs(slope).max()
    logits = rows @ theta.reshape(k, width).T
    return np.asarray(logits - logits.mean(1, keepdims=True))


def test_features_are_the_plain_layer_norm_over_the_root_of_its_width() -> None:
    last = np.random.default_rng(3).normal(2.0, 5.0, (11, 13)).astype(np.float32)
    normed = torch.nn.functional.layer_norm(torch.from_numpy(last).double(), (13,), eps=0.3)
    features = length_one(last, 0.3)
    np.testing.assert_allclose(features, normed.numpy() / np.sqrt(13), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(length_one(last, 0.0), axis=1), 1.0)


@given(classes=st.integers(2, 17), seed=st.integers(0, 99))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folding_in_is_exact_also_with_more_classes_than_channels(classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    model = GPT2Classifier(TRUNK, classes)
    weight, bias = random.normal(size=(classes, 12)), random.normal(size=classes)
    last = random.normal(1.0, 3.0, (9, 12)).astype(np.float32)
    fold_into(model, weight, bias)
    with torch.no_grad():
        logits = model.head(torch.from_numpy(last)).numpy()
    np.testing.assert_allclose(
        logits, length_one(last, CONFIG.layer_norm_epsilon) @ weight.T + bias, atol=1e-5
    )


TRUNK = trunk()


def test_a_folded_head_comes_through_the_files(tmp_path: object) -> None:
    model = GPT2Classifier(trunk(), 3)
    fold_into(model, np.random.default_rng(1).normal(size=(3, 12)), np.array([0.5, -2.0, 1.5]))
    write_checkpoint(str(tmp_path), model)
    checkpoint = read_checkpoint(str(tmp_path))
    assert checkpoint.score is not None and torch.equal(checkpoint.score, model.score.weight)
    assert torch.equal(checkpoint.state["ln_f.bias"], model.transformer.ln_f.bias)


def fitted(features: NDArray, targets: NDArray, groups: NDArray, classes: int) -> module.ExactHead:
    given = HeadRows(features, targets, np.ones(classes), groups)
    return fit_head(given, HeadSearch((1.0, 30.0), seed=4))


@pytest.mark.parametrize("classes", [2, 3])
def test_out_of_fold_logits_never_come_from_a_head_that_saw_the_group(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, targets = rows(classes)
    targets = np.arange(61) // 2 % classes  # a group is two neighbours with one label
    groups = np.arange(61) // 2
    seen: dict[bytes, set[int]] = {}
    original = module.solve

    def watched(inside: NDArray, *rest: object, **named: object) -> object:
        solution = original(inside, *rest, **named)  # type: ignore[arg-type]
        weight, bias = solution.head.weight, solution.head.bias
        numbers = {int(np.flatnonzero((features == row).all(1))[0]) for row in inside}
        seen[np.concatenate([weight.ravel(), bias]).tobytes()] = {
            int(groups[number]) for number in numbers
        }
        return solution

    monkeypatch.setattr(module, "solve", watched)
    head = fitted(features, targets, groups, classes)
    assert head.out_of_fold is not None and len(seen) == 2 * 5 + 1
    for row in range(61):
        sources = []
        for key, trained_on in seen.items():
            flat = np.frombuffer(key)
            weight, bias = flat[:-classes].reshape(classes, -1), flat[-classes:]
            if np.allclose(features[row] @ weight.T + bias, head.out_of_fold[row], atol=1e-9):
                sources.append(trained_on)
        assert sources and any(int(groups[row]) not in trained_on for trained_on in sources)


def test_the_penalty_with_the_best_merit_out_of_fold_is_taken() -> None:
    features, targets = rows(3)
    head = fitted(features, targets, np.arange(61), 3)
    assert set(head.tried) == {1.0, 30.0} and head.tried[head.inverse_penalty] == max(
        head.tried.values()
    )
    again = solve(features, targets, np.ones(61), head.inverse_penalty)
    np.testing.assert_array_equal(head.weight, again.head.weight)
    assert head.converged


def test_the_seed_decides_the_folds() -> None:
    features, targets = rows(2)
    a, b, again = (
        fit_head(
            HeadRows(features, targets, np.ones(2), np.arange(61)), HeadSearch((1.0, 2.0), seed=s)
        )
        for s in (1, 2, 1)
    )
    assert a.out_of_fold is not None and b.out_of_fold is not None and again.out_of_fold is not None
    assert np.array_equal(a.out_of_fold, again.out_of_fold) and not np.allclose(
        a.out_of_fold, b.out_of_fold
    )


def test_a_single_penalty_is_taken_as_it_is() -> None:
    features, targets = rows(3)
    head = fit_head(HeadRows(features, targets, np.ones(3), np.arange(61)), HeadSearch((7.0,)))
    assert (head.inverse_penalty, head.tried, head.out_of_fold) == (7.0, {}, None)
    np.testing.assert_array_equal(
        head.weight, solve(features, targets, np.ones(61), 7.0).head.weight
    )


@pytest.mark.parametrize(
    "classes",
    [2, 3, 16, 17],
    ids=["one curvature, exact", "each its own", "the last with its own", "one, a mean"],
)
def test_many_classes_and_few_reach_the_same_optimum_as_scikit_learn(classes: int) -> None:
    random = np.random.default_rng(classes)
    features = random.normal(size=(40 * classes + 3, 13))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    targets = np.concatenate(
        [np.arange(classes), (features[classes:] @ random.normal(size=(13, classes))).argmax(1)]
    )
    weights = random.uniform(0.5, 2.0, len(targets))
    found = solve(features, targets, weights, 1000.0)
    theirs = LogisticRegression(C=1000.0, tol=1e-10, max_iter=100_000).fit(
        features, targets, weights
    )
    wanted = theirs.decision_function(features)
    logits = found.head.logits(features)
    margins = logits[:, 1] - logits[:, 0] if classes == 2 else logits
    assert found.converged
    np.testing.assert_allclose(margins, wanted, atol=2e-3)
    np.testing.assert_allclose(found.head.bias.sum(), 0.0, atol=1e-9)


def test_a_class_of_two_groups_still_gives_two_folds() -> None:
    features, targets = rows(2, 23)
    targets = np.where(np.isin(np.arange(23), (3, 17)), 1, 0)
    head = fitted(features, targets, np.arange(23), 2)
    assert head.out_of_fold is not None and np.isfinite(head.out_of_fold).all()


@pytest.mark.parametrize("tiny", [(3,), (3, 17)], ids=["one row", "two rows of one group"])
def test_a_class_of_one_group_has_no_folds_and_the_default_penalty(tiny: tuple[int, ...]) -> None:
    features, _ = rows(2, 23)
    targets = np.where(np.isin(np.arange(23), tiny), 1, 0)
    groups = np.where(targets == 1, 99, np.arange(23))
    head = fitted(features, targets, groups, 2)
    assert head.out_of_fold is None and head.tried == {} and head.inverse_penalty == DEFAULT


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=6, max_size=30),
    st.integers(0, 9),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folds_hold_every_row_once_with_whole_groups_and_every_class_inside(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    targets, groups = (
        np.array([p[0] for p in pairs] + [0, 1, 2]),
        np.array([p[1] for p in pairs] + [50, 51, 52]),
    )
    folds = stratified_group_folds(targets, groups, 3, seed)
    if not folds:
        return
    assert sorted(int(row) for _, outside in folds for row in outside) == list(range(len(targets)))
    for inside, outside in folds:
        assert not set(groups[inside]) & set(groups[outside]) and set(targets[inside]) == {0, 1, 2}


@pytest.mark.parametrize("classes", [2, 3])
def test_fewer_rows_than_channels_have_the_same_optimum(classes: int) -> None:
    features, targets = rows(classes, count=11, width=29)
    weights, begun = np.linspace(0.5, 2.0, 11), LinearHead.zero(classes, 29)
    problem = Problem(features, np.eye(classes)[targets], weights, 30.0)
    whole = solve_again(problem, start=begun, tolerance=1e-10).head
    start = LinearHead(np.random.default_rng(1).normal(size=(classes, 29)), np.zeros(classes))
    for begin in (None, LinearHead(start.weight - start.weight.mean(0), start.bias)):
        found = solve(features, targets, weights, 30.0, start=begin)
        assert found.converged
        np.testing.assert_allclose(found.head.weight, whole.weight, atol=1e-5)
        np.testing.assert_allclose(found.head.bias, whole.bias, atol=1e-5)


def test_heads_in_the_span_of_all_rows_score_as_heads_of_all_channels() -> None:
    random = np.random.default_rng(3)
    features = length_one(random.normal(size=(37, 61)).astype(np.float32), 1e-5)
    targets = np.arange(37) % 3
    inside, outside = np.arange(29), np.arange(29, 37)
    spanned = in_their_span(features)
    assert spanned.shape == (37, 37)
    np.testing.assert_allclose(spanned @ spanned.T, features @ features.T, atol=1e-12)
    weights = np.ones(29)
    plain = solve(features[inside], targets[inside], weights, 10.0).head
    found = solve(spanned[inside], targets[inside], weights, 10.0, reduced=True).head
    assert found.weight.shape == (3, 37)
    np.testing.assert_allclose(
        found.logits(spanned[outside]), plain.logits(features[outside]), atol=1e-6
    )


def test_rows_with_few_channels_are_their_own_coordinates() -> None:
    features = np.random.default_rng(3).normal(size=(37, 37))
    assert in_their_span(features) is features
