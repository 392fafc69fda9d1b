"""The pretraining loop: what a step is, that it learns, that nothing but seed and data decides
it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.errors import ConfigError
from tests.training.pretraining import small


def test_a_step_is_the_gradient_of_the_weighted_mean_losses(tmp_path: Path) -> None:
    """Plain gradient descent by hand: every position predicted, three losses, means over positions
    and texts.
    """
    settings = {
        "objective.lm_loss_share": 1.0,
        "objective.lm_loss_weight": 0.7,
        "optimizer.clip_norm": 0.0,
    }
    training = small.pretraining(tmp_path, settings)
    rows = next(training.batches())
    for optimizer in training.optimizers:
        optimizer.step = lambda: None  # type: ignore[method-assign, assignment] # only the gradients are looked at
    found = training.train_step(rows)
    got = {
        name: p.grad.clone()
        for name, p in training.student.named_parameters()
        if p.grad is not None
    }

    fresh = small.pretraining(tmp_path, settings)
    trunk, sequences = fresh.student.trunk, fresh.sequences
    from tamis.gpt2.packing import pack
    from tamis.training.pretraining.losses import pooled, similarity_loss

    nats, states, count = torch.zeros(()), [], 0
    for row in rows:
        packed = pack([sequences.inputs(row)])
        hidden = trunk(packed)
        targets = torch.from_numpy(sequences.targets(row).astype(np.int64))
        known = targets >= 0
        nats = nats + torch.nn.functional.cross_entropy(
            (hidden @ trunk.wte.weight.T)[known], targets[known], reduction="sum"
        )
        count += len(targets)
        states.append(pooled(hidden, packed))
    vectors = torch.from_numpy(fresh.store.of([fresh.corpus.texts[i] for i in rows]))  # type: ignore[union-attr]
    together = torch.cat(states)
    mapped = torch.nn.functional.normalize(together @ fresh.student.to_teacher.T, dim=1)  # type: ignore[union-attr]
    terms = (
        nats / count,
        (1 - (mapped * vectors).sum(1)).mean(),
        similarity_loss(together, vectors, 0.05) / len(rows),
    )
    (0.7 * terms[0] + 5.0 * terms[1] + terms[2]).backward()
    for name, value in zip(("next_token", "cosine_distance", "similarity"), terms, strict=True):
        assert found[name] == pytest.approx(float(value.detach()), rel=1e-4)
    for name, parameter in fresh.student.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, atol=2e-5, rtol=1e-3)


def test_losses_fall_and_the_teacher_is_approached(tmp_path: Path) -> None:
    training = small.pretraining(tmp_path, {"schedule.tokens": 6000})
    begun = training.train_step(next(training.batches()))
    training.run()
    ended = training.train_step(next(training.batches()))
    assert ended["next_token"] < begun["next_token"] - 0.15  # a network twelve wide
    assert ended["cosine_distance"] < 0.75 * begun["cosine_distance"]
    assert ended["similarity"] < 0.5 * begun["similarity"]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    first, second, other = (
        small.pretraining(tmp_path / str(i), {"seed": seed}) for i, seed in enumerate((42, 42, 43))
    )
    for training in (first, second, other):
        training.run()
    assert all(
        torch.equal(a, b)
        for a, b in zip(small.weights(first).values(), small.weights(second).values(), strict=True)
    )
    assert not torch.equal(first.student.trunk.wte.weight, other.student.trunk.wte.weight)


def test_parts_of_a_step_change_nothing_but_rounding(tmp_path: Path) -> None:
    whole = small.pretraining(
        tmp_path, {"objective.similarity_weight": 0.0, "schedule.tokens": 300}
    )
    parts = small.pretraining(
        tmp_path,
        {
            "objective.similarity_weight": 0.0,
            "schedule.tokens": 300,
            "schedule.micro_batch_tokens": 17,
        },
    )
    losses = []
    for training in (whole, parts):
        training.run()
        losses.append([row["next_token"] for row in training.at.history if "next_token" in row])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, tensor in small.weights(whole).items():
        torch.testing.assert_close(tensor, small.weights(parts)[name], atol=2e-3, rtol=0)


def test_drawn_positions_are_the_share_asked_for_and_differ_from_step_to_step() -> None:
    training = small.pretraining(None, {"objective.lm_loss_share": 0.25})
    steps = list(training.batches())
    seen = []
    for rows in steps[:3]:
        drawn, count = training.draw_positions(rows)
        total = int(training.sequences.lengths[rows].sum())
        assert count == -(-total // 4) == sum(int(mask.sum()) for mask in drawn.values())
        assert [len(mask) for mask in drawn.values()] == training.sequences.lengths[rows].tolist()
        seen.append(np.concatenate(list(drawn.values())))
        training.at.place += len(rows)
    assert not np.array_equal(seen[0][:50], seen[1][:50])


def test_the_share_of_positions_leaves_the_expected_loss_unchanged() -> None:
    """Over many draws at one set of weights the mean of the sampled loss is the full loss."""
    full = small.pretraining(None, {"objective.lm_loss_share": 1.0, "optimizer.clip_norm": 0.0})
    part = small.pretraining(None, {"objective.lm_loss_share": 0.2, "optimizer.clip_norm": 0.0})
    rows = next(full.batches())
    for training in (full, part):
        for optimizer in training.optimizers:
            optimizer.step = lambda: None  # type: ignore[method-assign, assignment] # the weights stay
    wanted = full.train_step(rows)["next_token"]
    drawn = []
    for number in range(200):
        part.at.number = number  # another draw of positions
        drawn.append(part.train_step(rows)["next_token"])
    assert abs(np.mean(drawn) - wanted) < 4 * np.std(drawn) / 200**0.5
    assert np.std(drawn) > 0


def test_every_text_is_seen_once_a_pass_and_measurements_come_when_due() -> None:
    training = small.pretraining(None, {"schedule.tokens": 3000})
    total = int(training.sequences.lengths.sum())
    order = training.corpus.a_pass(42, 0)
    assert sorted(order) == list(range(40))
    at: list[int] = []
    training.run(measure=lambda t: at.append(t.at.tokens))
    assert at[-1] >= 3000 and len(at) == 8  # every 400 tokens, and the end
    assert training.at.number == (training.at.tokens - 1) // total


def test_the_teacher_is_asked_once_for_each_text(tmp_path: Path) -> None:
    training = small.pretraining(tmp_path, {"schedule.tokens": 2000})
    training.run()
    asked = training.store.teacher.asked  # type: ignore[union-attr]
    assert sorted(asked) == sorted(training.corpus.texts)


def test_longer_texts_teach_their_next_tokens_alone(tmp_path: Path) -> None:
    """The teacher is not asked for them, and the means are over the taught."""
    training = small.pretraining(
        tmp_path, {"objective.distilled_words": 4, "objective.lm_loss_weight": 0.0}
    )
    store = training.store
    assert store is not None
    training.run()
    asked = set(store.teacher.asked)  # type: ignore[attr-defined]
    assert asked == {text for text in training.corpus.texts if len(text.split()) <= 4}
    rows = np.array([i for i, text in enumerate(training.corpus.texts)][:9])
    short = [i for i in rows if len(training.corpus.texts[i].split()) <= 4]
    assert 2 <= len(short) < len(rows)
    before = {name: tensor.clone() for name, tensor in small.weights(training).items()}
    mixed = training.train_step(rows)
    for name, parameter in training.student.named_parameters():
        parameter.data.copy_(before[name])
    alone = training.train_step(np.array(short))
    assert mixed["cosine_distance"] == pytest.approx(alone["cosine_distance"], rel=1e-5)
    assert mixed["similarity"] == pytest.approx(alone["similarity"], rel=1e-4)


def test_with_every_piece_among_the_candidates_training_is_the_plain_one(tmp_path: Path) -> None:
    plain = small.pretraining(tmp_path, {"schedule.tokens": 300})
    sampled = small.pretraining(
        tmp_path,
        {
            "schedule.tokens": 300,
            "objective.frequent_pieces": 100,
            "objective.sampled_pieces": 5000,
        },
    )
    fewer = small.pretraining(
        tmp_path,
        {"schedule.tokens": 300, "objective.frequent_pieces": 100, "objective.sampled_pieces": 20},
    )
    for training in (plain, sampled, fewer):
        training.run()
    for name, tensor in small.weights(plain).items():
        torch.testing.assert_close(tensor, small.weights(sampled)[name], atol=2e-3, rtol=0)
    assert not torch.equal(
        small.weights(plain)["trunk.wte.weight"], small.weights(fewer)["trunk.wte.weight"]
    )


def test_a_loss_that_is_no_number_stops_with_the_remedy() -> None:
    training = small.pretraining()
    with torch.no_grad():
        training.student.trunk.wte.weight.fill_(float("nan"))
    with pytest.raises(ConfigError, match=r"lower optimizer\.learning_rate"):
        training.run()
