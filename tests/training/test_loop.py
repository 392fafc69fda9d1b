"""The training loop: one step against plain transformers, numbers by hand, and what must change
nothing.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tamis.errors import ConfigError, DataError
from tamis.evaluation.model_selection import Scores
from tamis.gpt2.checkpoints import write_checkpoint
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling
from tamis.text.encoding import EncodedTexts
from tamis.training.loop import Training
from tests.tiny import (
    LENGTHS,
    TARGETS,
    classifier,
    close,
    equal,
    gradients,
    messages,
    training,
    weights_of,
    windowed,
)


def test_one_step_has_the_gradient_of_a_padded_step_in_transformers(tmp_path: Path) -> None:
    from transformers import GPT2ForSequenceClassification

    model, of, weights = classifier(), messages(), (1.0, 2.5, 0.75)
    write_checkpoint(
        tmp_path,
        model,
        labels=["a", "b", "c"],
        extra={"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0},
    )
    theirs = GPT2ForSequenceClassification.from_pretrained(
        tmp_path, attn_implementation="eager"
    ).train()
    ids = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.long)
    for row, window in enumerate(of.windows):
        ids[row, : len(window)] = torch.from_numpy(window.astype(np.int64))
    logits = theirs(ids, attention_mask=(ids != 0).long()).logits
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights))(
        logits, torch.from_numpy(TARGETS)
    )
    loss.backward()

    ours = training(model, of=of, weights=weights, learning_rate=1e-9, head_learning_rate=1e-9)
    at = ours.run()
    assert at.step == 1 and at.history[0]["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert at.history[0]["accuracy"] == pytest.approx(
        float((logits.argmax(1).numpy() == TARGETS).mean())
    )
    expected = {
        name: p.grad.t() if p.grad.ndim == 2 and ".c_" in name else p.grad
        for name, p in theirs.named_parameters()
    }
    found = gradients(model)
    assert (
        len(found) == len(list(model.parameters()))
        and max(g.abs().max() for g in found.values()) > 0.1
    )
    close(found, expected, 1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_torchs_weighted_mean(smoothing: float) -> None:
    weights, model = (1.0, 2.5, 0.75), classifier()
    of = messages()
    loop = training(model, of=of, weights=weights, label_smoothing=smoothing, micro_batch_tokens=19)
    logits = loop.logits(np.arange(len(TARGETS)))
    expected = F.cross_entropy(
        logits, torch.from_numpy(TARGETS), weight=torch.tensor(weights), label_smoothing=smoothing
    )
    assert loop.run().history[0]["loss"] == pytest.approx(expected.item(), abs=1e-5)


def test_cutting_a_step_into_parts_changes_nothing() -> None:
    of, slopes, losses = messages([5] * 8), [], []
    for micro in (10_000, 5, 20, 12):  # 1 x 8, 8 x 1, 2 x 4, odd parts
        loop = training(
            of=of,
            targets=TARGETS[:8],
            micro_batch_tokens=micro,
            weights=(1.0, 3.0, 0.5),
            clip_norm=0.7,
        )
        loop.run()
        slopes.append(gradients(loop.model))
        longer = training(
            of=of,
            targets=TARGETS[:8],
            micro_batch_tokens=micro,
            weights=(1.0, 3.0, 0.5),
            batch_rows=3,
            epochs=3,
        )
        losses.append([row["loss"] for row in longer.run().history])
    for slope, course in zip(slopes[1:], losses[1:], strict=True):
        close(slope, slopes[0], 1e-6)
        assert course == pytest.approx(losses[0], abs=1e-5)


def test_a_class_weight_of_two_is_every_row_twice() -> None:
    of, twice = messages(), np.concatenate([np.arange(17), np.flatnonzero(TARGETS == 1)])
    weighted = training(of=of, weights=(1.0, 2.0, 1.0))
    weighted.run()
    repeated = training(of=EncodedTexts(of.windows, of.first, twice), targets=TARGETS[twice])
    repeated.run()
    close(gradients(weighted.model), gradients(repeated.model), 1e-6)


def test_windows_of_a_long_text_train_as_the_mean_of_their_logits() -> None:
    of, targets = windowed([[5], [23, 23, 9], [2], [23, 4]]), np.array([0, 1, 2, 1])
    model = classifier()
    training(model, of=of, targets=targets, micro_batch_tokens=30).run()
    found = gradients(model)
    model = classifier()
    alone = training(
        model, of=messages([5, 23, 23, 9, 2, 23, 4]), targets=np.zeros(7, dtype=np.int64)
    )
    last, _ = alone.states.forward(model, np.arange(7), lm_loss_share=0.0)
    each = model.head(last)
    means = torch.stack([each[0], each[1:4].mean(0), each[4], each[5:7].mean(0)])
    F.cross_entropy(means, torch.from_numpy(targets)).backward()
    close(found, gradients(model), 1e-5)


def test_the_next_token_loss_is_added_with_its_weight() -> None:
    model, of = classifier(), messages()
    training(model, of=of, lm_loss_weight=0.7).run()
    found = gradients(model)
    model = classifier()
    plain = training(model, of=of)
    last, _ = plain.states.forward(model, np.arange(17), lm_loss_share=0.0)
    total = F.cross_entropy(model.head(last), torch.from_numpy(TARGETS))
    losses = []
    for window in of.windows:
        ids = torch.from_numpy(window.astype(np.int64))
        hidden = model.transformer(pack([window]))
        losses.append(
            F.cross_entropy(
                model.transformer.next_token_logits(hidden[:-1]), ids[1:], reduction="sum"
            )
        )
    (total + 0.7 * torch.stack(losses).sum() / (sum(LENGTHS) - 17)).backward()
    close(found, gradients(model), 1e-5)


def test_with_pooling_the_next_token_loss_is_taken_under_the_pooling_block() -> None:
    found = []
    for pooling in (False, True):
        model = classifier()
        if pooling:
            add_mean_pooling(model.transformer)
        loop = training(model, lm_loss_weight=1.0)
        _, loss = loop.states.forward(model, np.arange(17), lm_loss_share=1.0)
        assert loss is not None
        found.append(loss.item())
        last, _ = loop.states.forward(model, np.arange(17), lm_loss_share=0.0)
        again, _ = loop.states.forward(model, np.arange(17), lm_loss_share=1.0)
        torch.testing.assert_close(
            model.transformer.normed(again), model.transformer.normed(last), atol=1e-5, rtol=1e-5
        )
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def rates(loop: Training) -> list[float]:
    return [row["learning_rate"] for row in loop.run().history if "learning_rate" in row]


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    loop = training(
        epochs=4, batch_rows=9, warmup_ratio=0.25, schedule="cosine", learning_rate=0.008
    )
    cosine = [0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert rates(loop) == pytest.approx([0.008 * share for share in (0.5, 1.0, *cosine)])


def test_a_constant_learning_rate_stays_after_the_warm_up() -> None:
    loop = training(
        epochs=4, batch_rows=9, warmup_ratio=0.4, schedule="constant", learning_rate=0.008
    )
    assert rates(loop) == pytest.approx(
        [0.008 * share for share in (1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1)]
    )
    assert rates(training(epochs=2, batch_rows=9, learning_rate=0.008)) == pytest.approx(
        [0.008] * 4
    )


def test_the_head_has_its_own_rate_and_only_matrices_decay() -> None:
    loop = training(weight_decay=0.3)
    assert {
        g["weight_decay"]
        for g in training(weight_decay=0.3, decay_everything=True).optimizer.param_groups
    } == {0.3}
    names = {id(p): name for name, p in loop.model.named_parameters()}
    for group in loop.optimizer.param_groups:
        for parameter in group["params"]:
            name = names.pop(id(parameter))
            matrix = (".c_" in name and name.endswith("weight")) or name == "score.weight"
            assert group["weight_decay"] == (0.3 if matrix else 0.0), name
            assert group["peak"] == (2e-2 if name == "score.weight" else 1e-2), name
    assert not names


def test_a_step_is_adamws() -> None:
    loop = training(weight_decay=0.3)
    before = weights_of(loop.model)
    loop.run()
    after, slope = weights_of(loop.model), gradients(loop.model)
    for name, rate, decay in (
        ("score.weight", 2e-2, 0.3),
        ("transformer.h.1.mlp.c_fc.weight", 1e-2, 0.3),
        ("transformer.wpe.weight", 1e-2, 0.0),
    ):
        # The first step of Adam: the moments, corrected for their start, are the gradient and its
        # square.
        expected = before[name] * (1 - rate * decay) - rate * slope[name] / (
            slope[name].abs() + 1e-8
        )
        torch.testing.assert_close(after[name], expected, atol=1e-6, rtol=1e-5)


def test_gradients_are_clipped_to_the_stated_length() -> None:
    free, clipped = training(), training(clip_norm=0.25)
    free.run()
    clipped.run()
    length = torch.cat([g.flatten() for g in gradients(free.model).values()]).norm()
    assert length > 0.5
    close(
        gradients(clipped.model),
        {name: g * 0.25 / length for name, g in gradients(free.model).items()},
        1e-6,
    )


def test_rows_a_step_replace_tokens_a_step() -> None:
    loop = training(batch_rows=5, batch_tokens=1)
    assert [len(rows) for rows in loop.steps_of(0)] == [5, 5, 5, 2]
    assert (loop.steps_per_epoch, loop.total_steps) == (4, 4)


@given(st.integers(1, 60), st.integers(0, 5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_token_budget_holds_and_every_row_comes_once_an_epoch(budget: int, epoch: int) -> None:
    loop = SHARED
    loop.settings = training(batch_tokens=budget).settings
    steps = list(loop.steps_of(epoch))
    assert sorted(int(row) for step in steps for row in step) == list(range(17))
    assert all(len(step) == 1 or sum(LENGTHS[row] for row in step) <= budget for step in steps)


SHARED = training()


def test_a_steps_rows_are_drawn_at_random_anew_each_epoch() -> None:
    loop = training(batch_tokens=30)
    first, second = loop.fit_rows_of(0).tolist(), loop.fit_rows_of(1).tolist()
    assert first != second and sorted(first) == sorted(second) == list(range(17))
    lengths = [LENGTHS[row] for row in first]
    assert lengths not in (sorted(lengths), sorted(lengths, reverse=True))
    assert training(batch_tokens=30).fit_rows_of(0).tolist() == first
    assert training(batch_tokens=30, seed=7).fit_rows_of(0).tolist() != first


def test_undersampling_takes_as_many_rows_of_every_class_as_the_rarest_has() -> None:
    loop, seen = training(undersample=True, batch_rows=4), set()
    for epoch in range(12):
        rows = loop.fit_rows_of(epoch)
        assert np.bincount(TARGETS[rows]).tolist() == [3, 3, 3] and len(set(rows.tolist())) == 9
        seen |= set(rows.tolist())
    assert seen == set(range(17)) and loop.total_steps == 3
    mixed = [TARGETS[loop.fit_rows_of(epoch)].tolist() for epoch in range(3)]
    assert all(labels != sorted(labels) for labels in mixed)


class Scripted(Training):
    """Validation figures as a test wants them."""

    script: list[float]

    def scores(self, logits: Any) -> Scores:
        return Scores(loss=1.0, accuracy=0.5, average_precision=self.script[self.at.epoch - 1])


def scripted(script: list[float], **changes: Any) -> Training:
    loop = training(
        kind=Scripted, fit=np.arange(13), validation=np.arange(13, 17), batch_rows=7, **changes
    )
    assert isinstance(loop, Scripted)
    loop.script, loop.level = script, 0.0
    return loop


def test_training_stops_when_patience_is_over_and_the_best_weights_come_back() -> None:
    loop = scripted([0.5, 0.9, 0.8, 0.9, 0.99], epochs=5, patience=2)
    at = loop.run()
    assert (at.epoch, at.best_epoch, at.step) == (4, 2, 8)  # level with the best is not better
    until_best = scripted([0.5, 0.9], epochs=2, patience=2)
    until_best.run()
    assert equal(weights_of(loop.model), weights_of(until_best.model))


def test_without_patience_every_epoch_is_trained_and_the_best_comes_back() -> None:
    at = scripted([0.5, 0.4, 0.3, 0.6, 0.2], epochs=5).run()
    assert (at.epoch, at.best_epoch) == (5, 4)


def test_of_epochs_that_held_out_rows_cannot_tell_apart_the_later_is_taken() -> None:
    loop = scripted([0.5, 0.9, 0.8, 0.85, 0.7, 0.99], epochs=6, patience=2)
    loop.level = 0.06
    at = loop.run()
    assert (at.epoch, at.best_epoch) == (6, 6)
    assert at.best == pytest.approx(0.99, abs=1e-3)
    falling = scripted([0.9, 0.86, 0.83, 0.83], epochs=4, patience=2)
    falling.level = 0.05
    assert falling.run().best_epoch == 2, (
        "level is meant against the best, not against the last one taken"
    )
    rows = training(fit=np.arange(8), validation=np.arange(8, 17))
    assert rows.level == 0.5 / np.bincount(TARGETS[8:17]).min()


def test_without_validation_rows_the_last_epoch_counts() -> None:
    at = training(epochs=3, patience=1).run()
    assert (at.epoch, at.best_epoch) == (3, 3)


def test_validation_figures_stand_in_the_history_after_each_epoch() -> None:
    loop = training(fit=np.arange(13), validation=np.arange(13, 17), epochs=2, batch_rows=7)
    history = loop.run().history
    assert [row["epoch"] for row in history] == [1, 1, 1, 2, 2, 2] and [
        row["step"] for row in history
    ] == [1, 2, 2, 3, 4, 4]
    for row in (history[2], history[5]):
        assert {"validation_loss", "validation_accuracy", "validation_average_precision"} < set(row)


def test_logits_come_in_the_order_of_the_rows_asked_for() -> None:
    loop = training(micro_batch_tokens=11)
    every, some = loop.logits(np.arange(17)), loop.logits(np.array([16, 3, 3, 0]))
    torch.testing.assert_close(some, every[[16, 3, 3, 0]], atol=1e-5, rtol=1e-5)


def run_bytes(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    loop = training(
        epochs=2, batch_tokens=40, dropout=0.2, token_dropout=0.3, lm_loss_weight=0.5, seed=seed
    )
    loop.run()
    return weights_of(loop.model)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    assert equal(run_bytes(42), run_bytes(42))
    assert not equal(run_bytes(42), run_bytes(43))


def test_token_dropout_keeps_the_first_token_and_acts_only_in_training() -> None:
    loop = training(
        token_dropout=0.9, of=messages([1] * 17)
    )  # one token each: nothing to leave out
    other = training(of=messages([1] * 17))
    loop.run()
    other.run()
    assert equal(weights_of(loop.model), weights_of(other.model))
    assert torch.equal(
        training(token_dropout=0.9).logits(np.arange(17)), training().logits(np.arange(17))
    )
    dropped = training(token_dropout=0.9)
    dropped.run()
    assert not equal(gradients(dropped.model), gradients(other.model))


def test_training_in_bfloat16_comes_near() -> None:
    exact, rough = training(), training(autocast=torch.bfloat16)
    a, b = exact.run().history[0]["loss"], rough.run().history[0]["loss"]
    assert a != b and a == pytest.approx(b, abs=0.05)


def test_a_loss_that_is_no_number_is_reported_at_once() -> None:
    with pytest.raises(
        ConfigError, match=r"the loss became (nan|inf) at step \d+; lower train\.learning_rate"
    ):
        training(epochs=60, learning_rate=1e30, head_learning_rate=1e30).run()


def test_no_row_to_fit_is_refused() -> None:
    with pytest.raises(DataError, match="training needs at least one row; got none"):
        training(fit=np.array([], dtype=np.int64))


def test_a_sampled_next_token_loss_is_unbiased() -> None:
    loop = training(lm_loss_weight=1.0)
    rows = np.arange(17)
    with torch.no_grad():
        _, whole = loop.states.forward(loop.model, rows, lm_loss_share=1.0)
        torch.manual_seed(3)
        draws = [loop.states.forward(loop.model, rows, lm_loss_share=0.3)[1] for _ in range(300)]
    assert whole is not None
    sums = torch.stack([draw for draw in draws if draw is not None])
    assert len(sums) == 300 and sums.std() > 0.05 * whole, "every draw takes other positions"
    assert abs(sums.mean() / 0.3 / whole - 1) < 4 * sums.std() / sums.mean() / 300**0.5


def test_rows_cut_anew_are_trained_on_and_what_is_judged_is_not() -> None:
    """The epoch's own cut is what a step sees; scores are of the plain one."""
    plain, other = messages(), messages([n + 2 for n in LENGTHS], seed=9)
    asked: list[int] = []

    def recut(epoch: int) -> EncodedTexts:
        asked.append(epoch)
        return other

    cut, usual = training(epochs=2, retokenize=recut), training(epochs=2)
    theirs = training(epochs=2, of=other)
    for loop in (cut, usual, theirs):
        loop.run()
    assert asked == [0, 1]
    assert equal(weights_of(cut.model), weights_of(theirs.model)) and not equal(
        weights_of(cut.model), weights_of(usual.model)
    )
    rows = np.arange(len(TARGETS))
    judged = training(cut.model, of=plain)
    assert torch.equal(cut.logits(rows), judged.logits(rows))


def test_steps_are_the_plain_cuts_so_that_their_number_is_known() -> None:
    """Longer cuts make a step longer, not steps more."""
    loop = training(
        epochs=3,
        batch_tokens=30,
        retokenize=lambda epoch: messages([n + 3 + epoch for n in LENGTHS], seed=epoch),
    )
    at = loop.run()
    assert at.step == sum(1 for epoch in range(3) for _ in loop.steps_of(epoch))
