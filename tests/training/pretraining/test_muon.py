"""Muon against its published iteration and torch's own, and the learning rate's course by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.training.pretraining.muon import Muon, decay_begins, optimizers, orthogonalized, rate
from tamis.training.pretraining.recipe import OptimizerSettings, ScheduleSettings
from tests.training.pretraining import small


def published(matrix: np.ndarray) -> np.ndarray:
    """The quintic iteration as the Muon page prints it, in double precision."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    turned = x.shape[0] > x.shape[1]
    x = x.T if turned else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if turned else x


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (7, 7)])
def test_orthogonalised_equals_the_published_iteration(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    for found, matrix in zip(orthogonalized(matrices), matrices, strict=True):
        np.testing.assert_allclose(found.numpy(), published(matrix.double().numpy()), atol=2e-4)


@given(st.integers(0, 10_000))
def test_orthogonalised_keeps_directions_and_levels_sizes(seed: int) -> None:
    matrix = torch.randn(1, 6, 11, generator=torch.Generator().manual_seed(seed))
    found = orthogonalized(matrix)[0]
    left, sizes, right = torch.linalg.svd(matrix[0], full_matrices=False)
    levelled = left.T @ found @ right.T  # diagonal: the same singular vectors
    off = levelled - torch.diag(levelled.diagonal())
    assert float(off.abs().max()) < 1e-3
    strong = (
        sizes / sizes.norm() > 0.05
    )  # five iterations lift what is not vanishingly small to between .6 and 1.3
    assert bool(((levelled.diagonal()[strong] > 0.55) & (levelled.diagonal()[strong] < 1.3)).all())


def test_two_steps_of_muon_by_hand() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 6, generator=torch.Generator().manual_seed(2)))
    before, gradients = (
        weight.detach().clone(),
        [torch.randn(4, 6, generator=torch.Generator().manual_seed(s)) for s in (3, 4)],
    )
    optimizer = Muon([weight], lr=0.1, momentum=0.9, weight_decay=0.5)
    momentum, wanted = np.zeros((4, 6)), before.double().numpy()
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        g = gradient.double().numpy()
        momentum = 0.9 * momentum + 0.1 * g
        wanted = wanted * (1 - 0.1 * 0.5) - 0.1 * published(0.1 * g + 0.9 * momentum)
    np.testing.assert_allclose(weight.detach().numpy(), wanted, atol=1e-4)


def test_queries_keys_and_values_are_three_matrices_and_tall_ones_take_larger_steps() -> None:
    joined = torch.nn.Parameter(torch.zeros(15, 5))
    tall = torch.nn.Parameter(torch.zeros(20, 5))
    gradient = torch.randn(15, 5, generator=torch.Generator().manual_seed(5))
    high = torch.randn(20, 5, generator=torch.Generator().manual_seed(6))
    joined.grad, tall.grad = gradient, high
    optimizer = Muon([joined, tall], lr=1.0, momentum=0.0)
    optimizer.step()
    for part, step in zip(joined.detach().split(5), gradient.split(5), strict=True):
        np.testing.assert_allclose(-part.numpy(), published(step.double().numpy()), atol=2e-4)
    np.testing.assert_allclose(
        -tall.detach().numpy(), 2.0 * published(high.double().numpy()), atol=4e-4
    )


def test_every_weight_has_one_optimiser_and_only_block_matrices_go_to_muon() -> None:
    training = small.pretraining()
    adamw, muon = optimizers(training.student, OptimizerSettings())
    names = {id(p): name for name, p in training.student.named_parameters()}
    in_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    in_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert in_muon == {
        f"trunk.h.{i}.{m}.weight"
        for i in range(2)
        for m in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    assert in_muon | in_adamw == set(names.values()) and not in_muon & in_adamw
    decays = {
        names[id(p)]: group["weight_decay"] for group in adamw.param_groups for p in group["params"]
    }
    assert set(decays.values()) == {
        0.0
    }  # without a teacher AdamW holds embeddings, LayerNorms and biases alone
    peaks = {names[id(p)]: group["peak"] for group in adamw.param_groups for p in group["params"]}
    assert peaks["trunk.wte.weight"] == OptimizerSettings().embedding_learning_rate
    assert peaks["trunk.ln_f.weight"] == OptimizerSettings().learning_rate
    only = optimizers(training.student, OptimizerSettings(name="adamw"))
    assert len(only) == 1 and sum(len(group["params"]) for group in only[0].param_groups) == len(
        names
    )


def test_the_course_of_the_learning_rate_by_hand() -> None:
    schedule = ScheduleSettings(tokens=1000, warmup_tokens=100, decay_share=0.4)
    assert decay_begins(schedule) == 600
    assert [rate(t, schedule) for t in (0, 49, 99, 100, 599)] == pytest.approx(
        [0.01, 0.5, 1.0, 1.0, 1.0]
    )
    assert [rate(t, schedule) for t in (600, 700, 900, 999, 1000, 1100)] == pytest.approx(
        [1.0, 0.75, 0.25, 0.0025, 0.0, 0.0]
    )
    assert rate(0, ScheduleSettings(tokens=10, warmup_tokens=0, decay_share=0.0)) == 1.0
