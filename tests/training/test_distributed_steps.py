"""Several processes take the steps that one takes: every kind of training, uneven rests, and rows
for fewer processes than there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tamis.errors import ConfigError, DistributedError
from tamis.gpt2.features import FeatureExtractor, all_tokens, last_tokens
from tamis.gpt2.freezing import freeze
from tamis.gpt2.lora import add_lora
from tamis.gpt2.pooling import add_mean_pooling, unfolded
from tamis.text.encoding import EncodedTexts
from tamis.text.windows import WindowAggregation
from tamis.training import shared_steps, side_by_side, step_batch
from tamis.training.checkpoint import Checkpointer
from tamis.training.distributed.team import team
from tamis.training.loop import LoopCallback, Training
from tamis.training.shared_steps import share
from tests.processes import ended, followers
from tests.tiny import (
    LENGTHS,
    TARGETS,
    classifier,
    close,
    equal,
    everything,
    messages,
    training,
    weights_of,
    windowed,
)
from tests.training.pretraining import small

WORLD = 3
RATE = {"learning_rate": 1e-3, "head_learning_rate": 1e-3}
"""AdamW's first steps are as long as the rate whatever the gradient, so that rounding is enlarged
where a gradient is nearly zero."""


@pytest.fixture(scope="module", autouse=True)
def three() -> Iterator[None]:
    """This process and two more; they take all trainings of this file, one after the other."""
    with followers(WORLD - 1) as others:
        with team():
            yield
        assert [code for code, _ in ended(others)] == [0] * (WORLD - 1)


def full(**changes: Any) -> Training:
    return training(epochs=3, **(RATE | {"batch_rows": 4} | changes))


def last_blocks(**changes: Any) -> Training:
    model, of = classifier(), messages()
    start = freeze(model, blocks=2)
    frozen = all_tokens(model.transformer, of, start)
    return full(model=model, states=FeatureExtractor(of, start, frozen, whole=False), **changes)


def head(**changes: Any) -> Training:
    model, of = classifier(), messages()
    start = freeze(model, head_only=True)
    frozen = last_tokens(model.transformer, of)
    return full(model=model, states=FeatureExtractor(of, start, frozen, whole=True), **changes)


def adapters(**changes: Any) -> Training:
    model, of = classifier(), messages()
    add_mean_pooling(model.transformer)
    freeze(model, head_only=True)
    add_lora(model.transformer, 2, generator=torch.Generator().manual_seed(4))
    return full(model=model, states=FeatureExtractor(of, 0, None, whole=False), **changes)


def pooled(**changes: Any) -> Training:
    model = classifier()
    add_mean_pooling(model.transformer)
    torch.manual_seed(4)
    unfolded(model.transformer, trainable=True)
    return full(model=model, states=everything(model, messages()), **changes)


def long_texts(positive: int | None) -> Training:
    parts = [[n, 3, 5] if n % 2 else [n] for n in LENGTHS]
    of = windowed(parts)
    some = EncodedTexts(of.windows, of.first, of.distinct_of, WindowAggregation(positive, 0.7))
    model = classifier(2)
    return full(
        model=model,
        states=everything(model, some),
        targets=np.minimum(TARGETS, 1),
        weights=(1.0, 1.0),
    )


def row_weights() -> Training:
    loop = full()
    loop.row_weights = torch.linspace(0.2, 1.8, len(TARGETS))
    return loop


KINDS: dict[str, Callable[[], Training]] = {
    "full": full,
    "one row a step": lambda: full(batch_rows=1),
    "everything in one step": lambda: full(batch_rows=None),
    "micro-batches": lambda: full(batch_rows=None, micro_batch_tokens=11),
    "weighted": lambda: full(weights=(1.0, 2.5, 0.75), label_smoothing=0.1, clip_norm=0.5),
    "weights of rows": row_weights,
    "undersampled": lambda: full(undersample=True),
    "next token": lambda: full(lm_loss_weight=0.3),
    "cut anew": lambda: full(retokenize=lambda epoch: messages([*LENGTHS[:-1], 9], epoch)),
    "validation": lambda: full(fit=np.arange(11), validation=np.arange(11, 17), patience=1),
    "last blocks": last_blocks,
    "head": head,
    "adapters": adapters,
    "pooled": pooled,
    "long texts, the strongest window": lambda: long_texts(1),
    "long texts, the mean": lambda: long_texts(None),
}


def alike(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """The same up to rounding. The bias of the keys changes no attention, so its gradient is
    rounding alone, which AdamW makes as long as its rate.
    """
    for found in (a, b):
        for name in found:
            if name.endswith("c_attn.bias"):
                channels = len(found[name]) // 3
                found[name][channels : 2 * channels] = 0.0
    close(a, b, 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_three_processes_take_the_steps_of_one(kind: str) -> None:
    alone, together = KINDS[kind](), KINDS[kind]()
    share(together, None)
    assert together.gradients is not alone.gradients
    one, three = alone.run(), together.run()
    assert three.processes == [WORLD] and one.processes == []
    assert len(one.history) == len(three.history) > 2
    for expected, found in zip(one.history, three.history, strict=True):
        assert expected.keys() == found.keys()
        assert found == pytest.approx(expected, abs=1e-5)
    alike(weights_of(alone.model), weights_of(together.model))


def test_weights_without_a_gradient_stay_alone() -> None:
    """Everything may move, but the head alone is computed: weight decay leaves the rest as it is,
    though the processes send each other gradients.
    """
    model, of = classifier(), messages()
    before = weights_of(model)
    frozen = last_tokens(model.transformer, of)
    freeze(model)
    loop = full(
        model=model, states=FeatureExtractor(of, 3, frozen, whole=True), decay_everything=True
    )
    share(loop, None)
    loop.run()
    moved = {name for name, w in weights_of(model).items() if not torch.equal(w, before[name])}
    assert moved == {"score.weight", "transformer.ln_f.weight", "transformer.ln_f.bias"}


def drawing(**changes: Any) -> Training:
    """Everything that draws at random switched on."""
    torch.manual_seed(11)
    draws = {"dropout": 0.1, "token_dropout": 0.2, "lm_loss_weight": 0.3, "lm_loss_share": 0.5}
    loop = full(**(draws | changes))
    share(loop, None)
    return loop


def test_with_dropout_the_same_processes_give_the_same_bytes() -> None:
    first = drawing()
    first.run()
    second = drawing()
    second.run()
    assert first.at.history == second.at.history
    assert equal(weights_of(first.model), weights_of(second.model))


@pytest.mark.parametrize(
    "sizes",
    [{"PARTS": 3}, {"LEAST_TOKENS": 1000}, {"MOST_TOKENS": 10}],
    ids=["a part for each process", "a part for one of three", "many parts"],
)
@pytest.mark.parametrize("kind", ["everything", "last blocks", "cut anew, micro-batches"])
def test_with_dropout_three_processes_take_the_steps_of_one(
    kind: str, sizes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"LEAST_TOKENS": 8} | sizes).items():
        monkeypatch.setattr(side_by_side, name, value)

    def made() -> Training:
        torch.manual_seed(11)
        draws = {"dropout": 0.2, "lm_loss_weight": 0.3, "lm_loss_share": 0.5, "batch_rows": 12}
        if kind == "last blocks":
            return last_blocks(**draws)
        draws["token_dropout"] = 0.2
        if kind == "everything":
            return full(**draws)
        recut = {"retokenize": lambda epoch: messages([*LENGTHS[:-1], 9], epoch)}
        return full(micro_batch_tokens=40, **recut, **draws)

    alone = made()
    one = alone.run()
    together = made()
    share(together, None)
    assert together.gradients.draws()
    three = together.run()
    for expected, found in zip(one.history, three.history, strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    alike(weights_of(alone.model), weights_of(together.model))


class Stop(LoopCallback):
    """Ends a training after a step, as a kill would."""

    def __init__(self, step: int, saver: Checkpointer) -> None:
        self.step, self.saver = step, saver

    def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
        if training.at.step == self.step:
            self.saver.save(training)
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [1, 7, 10])
def test_a_resumed_training_of_three_ends_with_the_same_bytes(step: int, tmp_path: Path) -> None:
    whole = drawing()
    whole.run()
    saver = Checkpointer(tmp_path, "the work")
    with pytest.raises(KeyboardInterrupt):
        drawing(callbacks=[Stop(step, saver)]).run()
    resumed = drawing()
    torch.manual_seed(99)
    assert saver.restore(resumed)
    share(resumed, None)
    assert resumed.run().history == whole.at.history
    assert resumed.at.processes == [WORLD]
    assert equal(weights_of(whole.model), weights_of(resumed.model))


def test_a_training_of_one_goes_on_with_three(tmp_path: Path) -> None:
    """And its state tells so."""
    whole = full()
    whole.run()
    saver = Checkpointer(tmp_path, "the work")
    with pytest.raises(KeyboardInterrupt):
        full(callbacks=[Stop(4, saver)]).run()
    resumed = full()
    resumed.at.processes = [1]
    share(resumed, None)
    assert resumed.at.processes == [1, WORLD]
    saver.restore(resumed)
    resumed.run()
    alike(weights_of(whole.model), weights_of(resumed.model))


def test_what_fails_elsewhere_is_raised_here_and_the_next_training_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = full()
    share(loop, None)
    real = step_batch.to_arrays

    def broken(*arguments: Any) -> dict[str, Any]:
        arrays = real(*arguments)
        return arrays | {"ids": arrays["ids"] + 1000}

    monkeypatch.setattr(shared_steps, "to_arrays", broken)
    with pytest.raises(DistributedError, match=r"process 1 of 3 failed on .*: .*index"):
        loop.run()
    monkeypatch.undo()
    after = full()
    share(after, None)
    alone = full()
    alike(weights_of_run(alone), weights_of_run(after))


def weights_of_run(loop: Training) -> dict[str, torch.Tensor]:
    loop.run()
    return weights_of(loop.model)


def test_a_job_that_cannot_begin_elsewhere_is_an_error_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def elsewhere(loop: Training) -> Any:
        found, arrays = describe(loop)
        return found | {"device": "cuda"}, arrays

    describe = shared_steps.describe_training
    monkeypatch.setattr(shared_steps, "describe_training", elsewhere)
    loop = full()
    share(loop, None)
    with pytest.raises(DistributedError, match=r"process 1 of 3 failed on .*'cuda:1' was"):
        loop.run()


def test_an_error_here_ends_the_step_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that is not finite: the same error as with one process."""
    loop = full(learning_rate=1e30, head_learning_rate=1e30)
    share(loop, None)
    with pytest.raises(ConfigError, match="the loss became nan at step"):
        loop.run()


@pytest.mark.parametrize("teacher", [False, True])
def test_pretraining_steps_are_those_of_one(
    teacher: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {
        "optimizer.name": "adamw",
        "optimizer.learning_rate": 1e-4,
        "optimizer.embedding_learning_rate": 1e-4,
        "objective.form_dropout": 0.3,
    }
    if teacher:
        changes |= {
            "objective.similarity_weight": 0.0,  # compares texts inside a process
            "objective.bank_weight": 0.5,
            "objective.bank_texts": 9,
            "objective.frequent_pieces": 40,
            "objective.sampled_pieces": 60,
        }
    folders = [tmp_path / name if teacher else None for name in ("together", "alone")]
    together = small.pretraining(folders[0], changes)
    monkeypatch.setattr(
        "tamis.training.pretraining.loop.share_steps", lambda gradients, threads: gradients
    )
    alone = small.pretraining(folders[1], changes)
    assert type(together.gradients) is not type(alone.gradients)
    one, three = alone.run(), together.run()
    assert [row.keys() for row in one.history] == [row.keys() for row in three.history]
    for expected, found in zip(one.history, three.history, strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    alike(small.weights(alone), small.weights(together))
