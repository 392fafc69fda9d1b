"""The softmax over part of the vocabulary against the plain one, and its expectation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tamis.training.pretraining.sampled_softmax import by_frequency, candidate_cross_entropy, draw

V, C, P = 41, 7, 23


def numbers() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    states, embeddings = (
        torch.randn(P, C, generator=generator),
        torch.randn(V, C, generator=generator),
    )
    return states, embeddings, torch.randint(0, V, (P,), generator=generator)


def test_pieces_come_by_frequency_and_equals_by_id() -> None:
    tokens = np.array([3, 3, 3, 1, 1, 4, 4, 0], dtype=np.int32)
    assert by_frequency(tokens, 6).tolist() == [3, 1, 4, 0, 2, 5]


@pytest.mark.parametrize(("frequent", "drawn"), [(V, 5), (0, V), (13, V - 13), (13, 99)])
def test_with_every_piece_there_it_is_the_plain_softmax_with_the_plain_gradients(
    frequent: int, drawn: int
) -> None:
    pieces = np.random.default_rng(0).permutation(V)
    states, embeddings, targets = numbers()
    wanted_inputs = states.clone().requires_grad_(), embeddings.clone().requires_grad_()
    wanted = F.cross_entropy(wanted_inputs[0] @ wanted_inputs[1].T, targets, reduction="sum")
    wanted.backward()
    inputs = states.clone().requires_grad_(), embeddings.clone().requires_grad_()
    found = candidate_cross_entropy(*inputs, targets, draw(pieces, frequent, drawn, [1]))
    found.backward()
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    for got, want in zip(inputs, wanted_inputs, strict=True):
        torch.testing.assert_close(got.grad, want.grad, atol=1e-5, rtol=1e-4)


def test_one_position_by_hand() -> None:
    """Frequent pieces 0 and 1, one of 2, 3, 4 drawn and counted three times; the target counts
    once, drawn or not.
    """
    logits = [0.5, -1.0, 2.0, 0.3, 1.1]
    states, embeddings = torch.ones(1, 1), torch.tensor(logits)[:, None]
    candidates = draw(np.arange(5), 2, 1, [9])
    (drawn,) = candidates.pieces[2:].tolist()
    for target in range(5):
        others = sum(math.exp(logits[i]) for i in (0, 1) if i != target)
        if drawn != target:
            others += 3 * math.exp(logits[drawn])
        wanted = math.log(others + math.exp(logits[target])) - logits[target]
        found = candidate_cross_entropy(states, embeddings, torch.tensor([target]), candidates)
        assert float(found) == pytest.approx(wanted, rel=1e-5), target


def test_the_sum_of_the_softmax_is_right_in_expectation() -> None:
    """Over many draws the mean of exp(loss), which is the sum over the target's own share, meets
    the exact one.
    """
    states, embeddings, targets = numbers()
    logits = states @ embeddings.T
    exact = torch.exp(torch.logsumexp(logits, 1) - logits.gather(1, targets[:, None]).squeeze(1))
    pieces = by_frequency(np.repeat(np.arange(V), np.arange(V, 0, -1)).astype(np.int32), V)
    sums = torch.zeros(P, dtype=torch.float64)
    draws = 300
    for seed in range(draws):
        candidates = draw(pieces, 9, 11, [seed])
        for row in (2, 3, 20):
            sums[row] += math.exp(
                float(
                    candidate_cross_entropy(
                        states[row : row + 1], embeddings, targets[row : row + 1], candidates
                    )
                )
            )
    for row in (2, 3, 20):
        assert float(sums[row]) / draws == pytest.approx(float(exact[row]), rel=0.06)


def test_draws_are_without_repeats_outside_the_frequent_and_follow_the_seed() -> None:
    pieces = np.random.default_rng(4).permutation(V)
    first, again, other = (draw(pieces, 10, 12, [seed, 7]) for seed in (1, 1, 2))
    assert first.pieces.tolist() == again.pieces.tolist() != other.pieces.tolist()
    assert first.pieces[:10].tolist() == pieces[:10].tolist()
    assert len(set(first.pieces.tolist())) == 22
    assert first.log_weight.tolist() == pytest.approx([0.0] * 10 + [math.log(31 / 12)] * 12)
    assert all(first.column[piece] == place for place, piece in enumerate(first.pieces.tolist()))
    assert int((first.column < 0).sum()) == V - 22
