"""Losses of pretraining against plain loops, arithmetic by hand and the classifier's own
pooling.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling
from tamis.training.pretraining.losses import (
    Student,
    Targets,
    bank_loss,
    losses,
    pooled,
    similarity_loss,
)
from tests.tiny import trunk
from tests.training.pretraining import small

LENGTHS = [5, 1, 7, 5, 3]


def ids(seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 37, size=n).astype(np.int32) for n in LENGTHS]


def test_the_pooled_state_is_what_a_classifier_reads_behind_its_pooling_block() -> None:
    model = trunk()
    packed = pack(ids())
    with torch.no_grad():
        learnt = packed.restore(pooled(model(packed), packed))
        read = add_mean_pooling(model)
        rows = read.normed(read.last(read.embed(packed), packed))
    torch.testing.assert_close(learnt, rows, atol=2e-3, rtol=0)
    assert float(F.cosine_similarity(learnt, rows).min()) > 0.99999


def test_pooled_states_equal_a_plain_loop_over_texts() -> None:
    model = trunk()
    packed = pack(ids())
    with torch.no_grad():
        together = packed.restore(pooled(model(packed), packed))
        for row, text in zip(together, ids(), strict=True):
            alone = model(pack([text])).mean(0)
            wanted = (alone - alone.mean()) / (alone.var(unbiased=False) + 1e-5).sqrt()
            torch.testing.assert_close(row, wanted, atol=1e-5, rtol=1e-5)


def test_likeness_by_hand_for_three_texts() -> None:
    """Each text has two others; the softmax over two is a logistic of the difference of their
    cosines.
    """
    states = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 2.0]])  # cosines: .6, 0, .8
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])  # 0, .8, .6
    temperature = 0.5

    def divergence(teacher: float, pupil: float) -> float:
        p, q = 1 / (1 + math.exp(-teacher / temperature)), 1 / (1 + math.exp(-pupil / temperature))
        return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

    wanted = (
        divergence(0.0 - 0.8, 0.6 - 0.0)
        + divergence(0.0 - 0.6, 0.6 - 0.8)
        + divergence(0.8 - 0.6, 0.0 - 0.8)
    )
    assert float(similarity_loss(states, vectors, temperature)) == pytest.approx(wanted, rel=1e-5)


def test_likeness_is_zero_for_equal_geometry_at_any_scale_and_its_gradient_is_finite() -> None:
    generator = torch.Generator().manual_seed(3)
    vectors = F.normalize(torch.randn(9, 5, generator=generator), dim=1)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=generator))[0]
    states = (vectors @ turn * 7.0).requires_grad_()
    loss = similarity_loss(states, vectors, 0.05)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-4)
    assert states.grad is not None and bool(torch.isfinite(states.grad).all())
    assert (
        float(
            similarity_loss(-states.detach()[torch.randperm(9, generator=generator)], vectors, 0.05)
        )
        > 0.5
    )


def test_the_losses_of_a_batch_equal_plain_sums() -> None:
    model = trunk()
    pupil = Student(
        model, torch.randn(small.DIMENSIONS, 12, generator=torch.Generator().manual_seed(1))
    )
    packed = pack(ids())
    vectors = F.normalize(
        torch.randn(5, small.DIMENSIONS, generator=torch.Generator().manual_seed(2)), dim=1
    )
    drawn, targets = torch.tensor([0, 4, 11, 20]), torch.tensor([3, 36, 0, 9])
    bank = torch.randn(4, small.DIMENSIONS, generator=torch.Generator().manual_seed(4))
    bank = F.normalize(bank, dim=1)
    expected = Targets(drawn, targets, vectors, bank=bank)
    found = losses(pupil, packed, expected, temperature=0.1, similarity=True)
    with torch.no_grad():
        hidden = model(packed)
        logits = hidden[drawn] @ model.wte.weight.T
        wanted = sum(
            float(torch.logsumexp(row, 0) - row[t]) for row, t in zip(logits, targets, strict=True)
        )
        states = pooled(hidden, packed)
        mapped = states @ pupil.to_teacher.T  # type: ignore[union-attr]
        distance = sum(
            1 - float(torch.dot(m, v) / m.norm()) for m, v in zip(mapped, vectors, strict=True)
        )
        likeness = float(similarity_loss(states, vectors, 0.1))
        to_bank = float(bank_loss(F.normalize(mapped, dim=1), vectors, bank, 0.1))
    assert found.next_token is not None and float(found.next_token.detach()) == pytest.approx(
        wanted, rel=1e-5
    )
    assert found.cosine_distance is not None and float(
        found.cosine_distance.detach()
    ) == pytest.approx(distance, rel=1e-5)
    assert found.similarity is not None and float(found.similarity.detach()) == pytest.approx(
        likeness, rel=1e-5
    )
    assert found.bank is not None
    assert float(found.bank.detach()) == pytest.approx(to_bank, rel=1e-5)


def test_without_drawn_positions_or_teacher_there_is_no_such_loss() -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    targets = Targets(nothing, nothing)
    found = losses(Student(trunk(), None), pack(ids()), targets, temperature=0.1, similarity=True)
    assert (found.next_token, found.cosine_distance) == (None, None)
    assert (found.similarity, found.bank) == (None, None)


def test_the_loss_to_a_bank_by_hand_for_two_texts_and_two_vectors() -> None:
    """A softmax over two vectors is a logistic function of the difference of the cosines."""
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    vectors = torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    mapped = torch.tensor([[0.6, -0.8], [0.6, 0.8]])
    p, q = 1 / (1 + math.exp(-0.2 / 0.5)), 1 / (1 + math.exp(-1.4 / 0.5))
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))  # the second text: 0
    assert float(bank_loss(mapped, vectors, bank, 0.5)) == pytest.approx(expected, rel=1e-5)
