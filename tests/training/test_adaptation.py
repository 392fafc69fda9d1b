"""Task-adaptive pretraining: it learns the texts it is given and no others, ends with the same
bytes however often it is interrupted, and is what the classifier then builds on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tamis import TextClassifier
from tamis.compute.device import resolve
from tamis.config import Recipe
from tamis.errors import CheckpointError, ConfigError
from tamis.gpt2.backbones import Backbone, load_backbone
from tamis.gpt2.checkpoints import write_checkpoint
from tamis.gpt2.likelihood import bits_per_byte
from tamis.gpt2.model import GPT2, GPT2Config, initialise
from tamis.gpt2.pooling import add_mean_pooling
from tamis.progress import Silent
from tamis.text.tokenizer import Tokenizer
from tamis.training import adaptation
from tamis.training.callbacks import Callbacks
from tamis.training.pretraining import checkpoint
from tamis.training.resolve import resolve_recipe
from tests.rows import messages
from tests.training.pretraining.small import HashTeacher

ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]
COMPUTE = resolve("cpu", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small backbone with random weights and a context of 31 tokens."""
    path = tmp_path_factory.mktemp("backbone")
    tokenizer = Tokenizer.train(TEXTS, vocab_size=300)
    model = GPT2(
        GPT2Config(vocab_size=tokenizer.size, n_positions=31, n_embd=20, n_layer=2, n_head=5)
    )
    initialise(model, torch.Generator().manual_seed(1))
    write_checkpoint(path, model)
    tokenizer.save(path, max_length=31)
    return path


def recipe(**settings: Any) -> Recipe:
    base = {"compute.device": "cpu", "compute.threads": 1, "train.adapt_passes": 2}
    return Recipe().changed(base | {f"train.{k}": value for k, value in settings.items()})


def adapted(
    folder: Path,
    texts: list[str] = TEXTS,
    *,
    callbacks: Callbacks | None = None,
    **settings: Any,
) -> tuple[Backbone, str]:
    backbone = load_backbone(folder)
    tokenizer = backbone.tokenizer.prepared(add_bos=True)
    said = adaptation.adapt(
        backbone, texts, tokenizer, recipe(**settings), COMPUTE, callbacks or Callbacks()
    )
    return backbone, said


def weights(backbone: Backbone) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in backbone.model.named_parameters()}


def same(one: Backbone, other: Backbone) -> bool:
    theirs = weights(other)
    return all(torch.equal(tensor, theirs[name]) for name, tensor in weights(one).items())


class Stopped(Exception):
    """Stands for a kill."""


class StopAfter(Silent):
    """Ends the process after some steps of the adaptation, and remembers what was reported."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.tasks: list[tuple[str, int, str, int]] = []

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Silent:
        self.tasks.append((name, total, unit, done))
        return self if name == "adaptation" else Silent()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.left -= 1
        if self.left < 0:
            raise Stopped


def test_the_texts_become_likelier_and_the_sentence_counts_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "LEARNING_RATE", 3e-3)  # the weights are random
    plain, (found, said) = load_backbone(folder), adapted(folder, adapt_passes=3)
    assert said.startswith(f"The backbone was adapted to {len(TEXTS)} training texts (3 passes, ")
    assert not same(plain, found)
    tokenizer = plain.tokenizer.prepared(add_bos=True)
    before, after = (bits_per_byte(one.model, TEXTS, tokenizer) for one in (plain, found))
    assert after.mean() < before.mean() - 0.3
    assert not found.model.training and all(p.grad is None for p in found.model.parameters())


def test_the_same_seed_gives_the_same_bytes_and_nothing_outside_changes(folder: Path) -> None:
    torch.manual_seed(9)
    before = torch.get_rng_state()
    one, other = adapted(folder)[0], adapted(folder)[0]
    assert torch.equal(torch.get_rng_state(), before)
    assert same(one, other)
    assert not same(one, adapted(folder, adapt_passes=1)[0])
    assert not same(one, adapted(folder, TEXTS[:-1])[0])


def test_interrupted_again_and_again_it_ends_with_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "BATCH_TOKENS", 256)
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    straight, said = adapted(folder)
    for steps in (3, 4, 5):
        stopping = StopAfter(steps)
        with pytest.raises(Stopped):
            adapted(folder, callbacks=Callbacks(progress=stopping, checkpoint=tmp_path))
    begun = [done for name, _, unit, done in stopping.tasks if name == "adaptation"]
    assert begun and begun[-1] > 0  # it went on, and the bar began there
    counting = StopAfter(10_000)
    resumed, again = adapted(folder, callbacks=Callbacks(progress=counting, checkpoint=tmp_path))
    assert same(straight, resumed) and said == again
    assert counting.tasks[-1][0] == "adaptation" and counting.tasks[-1][3] > 0


def test_a_finished_adaptation_is_loaded_and_only_its_weights_are_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callbacks = Callbacks(checkpoint=tmp_path)
    first, said = adapted(folder, callbacks=callbacks)
    (place,) = tmp_path.iterdir()
    assert [file.name for file in place.iterdir()] == ["adapted.safetensors"]
    monkeypatch.setattr(adaptation, "build_training", lambda *_, **__: pytest.fail("trained again"))
    loaded, again = adapted(folder, callbacks=callbacks)
    assert same(first, loaded) and said == again
    monkeypatch.undo()
    other = adapted(folder, callbacks=callbacks, adapt_passes=1)[0]  # other work: a folder beside
    assert not same(first, other) and len(list(tmp_path.iterdir())) == 2
    (place / "adapted.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(CheckpointError, match=r"is damaged.*delete it to adapt the backbone again"):
        adapted(folder, callbacks=callbacks)


def test_texts_longer_than_the_context_are_read_whole(folder: Path) -> None:
    long = " ".join(TEXTS[:30])
    said = adapted(folder, [long], adapt_passes=1)[1]
    tokens = len(load_backbone(folder).tokenizer.encode([long])[0])
    counted = int(said.split(" pass, ")[1].split(" tokens")[0].replace(",", ""))
    assert counted >= tokens  # and a leading token for every part


def test_a_teacher_is_learnt_from_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path))
    teacher = HashTeacher()
    monkeypatch.setattr(adaptation, "Teacher", lambda *_, **__: teacher)
    short = [text for text in TEXTS if len(text.encode()) < 30]  # within the context
    found, said = adapted(folder, short, adapt_teacher="somewhere")
    assert said.endswith("with the teacher's vectors).")
    assert set(teacher.asked) == set(short)
    assert not same(found, adapted(folder, short)[0])


def test_a_teacher_that_is_missing_is_reported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no sentence-transformers folder"):
        adapted(folder, adapt_teacher=str(tmp_path))


def test_a_backbone_that_pools_predicts_no_next_token(folder: Path) -> None:
    backbone = load_backbone(folder)
    pooled = replace(backbone, model=add_mean_pooling(backbone.model))
    tokenizer = backbone.tokenizer.prepared(add_bos=True)
    with pytest.raises(ConfigError, match="ends in a pooling block"):
        adaptation.adapt(pooled, TEXTS, tokenizer, recipe(), COMPUTE, Callbacks())


@pytest.mark.parametrize("tune", ["head", "full"])
def test_a_fit_adapts_to_the_rows_it_trains_on_and_to_no_validation_text(
    tune: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    original = adaptation.adapt

    def watched(backbone: Backbone, texts: list[str], *rest: Any) -> str:
        seen.append(list(texts))
        return original(backbone, texts, *rest)

    monkeypatch.setattr(adaptation, "adapt", watched)
    notices: list[str] = []
    callbacks = Callbacks(on_notice=notices.append)
    settings = {"train.epochs": 1, "data.validation_share": 0.3, "decision.cv_folds": 0}
    plain, found = (
        TextClassifier(
            str(folder), tune, threads=1, settings=settings | {"train.adapt_passes": passes}
        ).fit(TEXTS, LABELS, callbacks=callbacks)
        for passes in (0, 2)
    )
    held_out = set(found.training_.held_out.tolist()) if tune == "full" else set()
    assert seen == [[text for row, text in enumerate(TEXTS) if row not in held_out]]
    assert tune == "head" or len(held_out) > 10
    assert any("was adapted to" in note for note in found.training_.notes)
    assert sum("was adapted to" in notice for notice in notices) == 1
    assert not np.allclose(plain.predict_proba(TEXTS[:5]), found.predict_proba(TEXTS[:5]))


def test_a_teacher_without_passes_is_said_to_be_ignored() -> None:
    asked = Recipe().changed(
        {"backbone": "scratch:tiny", "compute.device": "cpu", "train.adapt_teacher": "folder"}
    )
    notes = resolve_recipe(asked, TEXTS, LABELS).notes
    assert any("train.adapt_teacher is ignored" in note for note in notes)
