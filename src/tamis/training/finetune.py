"""One training by the loop: what is trained from which states, where the head begins, and the scores of rows that it did not see.

head, epochs       features of the frozen trunk, mini-batches over head and final LayerNorm (the reference)
blocks:K           states below the last K blocks once, the loop over the rest
lora:R             the loop over adapters of rank R in every block, the final LayerNorm and the head
full               the loop over everything
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.evaluation.model_selection import Scores, named_positive
from tamis.gpt2.feature_cache import StateStore, trunk_fingerprint
from tamis.gpt2.features import States, all_tokens, last_tokens
from tamis.gpt2.freezing import freeze, trained_parameters, with_position
from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.lora import add_lora, merge_lora
from tamis.gpt2.model import GPT2, GPT2Classifier
from tamis.gpt2.pooling import unfolded
from tamis.gpt2.scoring import score
from tamis.head.linear_head import CANDIDATES, START
from tamis.head.linear_probe import solved
from tamis.head.result import Rows, Tuned
from tamis.progress import Progress
from tamis.text.encoding import Messages
from tamis.training.checkpoint import Checkpointer
from tamis.training.collapse import Watched, remedy_for
from tamis.training.defaults import few
from tamis.training.loop import LoopSettings
from tamis.training.weight_averaging import copied, mix, mix_as_judged


@dataclass(frozen=True)
class Work:
    """What every training of one job is told."""

    recipe: Recipe
    """Resolved."""
    messages: Messages
    targets: Rows
    """(R,) class numbers"""
    classes: list[str]
    weights: NDArray[np.float64]
    """(K,) weight of a row by its class"""
    groups: Rows
    """(R,) rows of one group never cross a fold"""
    recut: Callable[[int], Messages] | None
    """Gives the rows to fit cut into other tokens for an epoch, numbered from 0."""
    joining: Callable[[Rows], Messages] | None
    """Gives windows of long texts joined from the negatives among some rows (decision/window_penalty.py)."""
    store: StateStore
    progress: Progress | None
    say: Callable[[str], None] | None

    @property
    def positive(self) -> int | None:
        """The number of the positive class of two, where one is named."""
        return named_positive(self.recipe.data.positive, self.classes)

    def identity(self, trunk: GPT2, *rows: Rows) -> str:
        """A hash of the recipe, the trunk, and of the texts and targets of the given rows."""
        digest = hashlib.sha256(self.recipe.model_dump_json().encode())
        digest.update(trunk_fingerprint(trunk).encode() + self.messages.fingerprint.encode())
        for some in rows:
            digest.update(self.messages.distinct_of[some].tobytes())
            digest.update(self.targets[some].tobytes())
        return digest.hexdigest()


def looped(
    work: Work,
    trunk: GPT2,
    *,
    fit: Rows,
    copies: Rows,
    validation: Rows,
    judged: Rows,
    checkpoint: Path | None,
    on_epoch: Callable[[int, Scores], None] | None = None,
    name: str = "training",
) -> Tuned:
    """Train a trunk, which changes, on `fit` and `copies`, the epoch chosen on `validation`, and score the `judged` rows.

    Progress is told under `name`; the others as in `tamis.training.fit.tune`.
    """
    recipe, messages = work.recipe, work.messages
    model = GPT2Classifier(with_position(recipe, trunk), len(work.classes)).to(recipe.compute.device)
    found = _solve_first(work, model, fit, copies)
    fit = np.concatenate([fit, copies])
    states = _states(work, model)
    remedy = remedy_for(
        tune=recipe.tune,
        pooled=recipe.text.position in ("mean", "attention"),
        weighted=recipe.train.undersample or recipe.train.class_weight != "none",
        epochs=recipe.train.epochs or 1,
    )
    training = Watched(
        model,
        states,
        work.targets,
        work.weights,
        _settings(recipe),
        fit_rows=fit,
        validation_rows=validation,
        positive=work.positive,
    )
    training.watch(work.classes, remedy, work.say)
    training.on_epoch, training.name = on_epoch, name
    training.recut = work.recut if states.frozen is None else None
    kept = recipe.train.keep_start or 0.0
    start = copied(training.trained) if kept else {}
    model.transformer.set_dropout(recipe.train.dropout or 0.0)
    saver = None
    if checkpoint is not None:
        saver = Checkpointer(checkpoint, work.identity(model.transformer, fit, validation))
        saver.restore(training)
    # Nothing is saved on Ctrl-C: it may come in mid-step, and what is saved must go on to the same bytes. The last mark serves.
    at = training.run(save=saver, progress=work.progress)
    if isinstance(kept, str):
        found["kept_start"] = mix_as_judged(training, start)
    elif start:
        mix(training.trained, start, kept)
    logits = training.logits(judged).double().numpy()
    every = None if states.frozen is None else training.logits(np.arange(len(messages.distinct_of))).double().numpy()
    model.transformer.set_dropout(0.0)
    trained = trained_parameters(model)
    merge_lora(model.transformer)
    joined = None if work.joining is None else score(model, work.joining(judged))
    facts = {"epochs": at.epoch, "best_epoch": at.best_epoch, "steps": at.step, "trained_parameters": trained, **found}
    notes = [training.warned] if training.warned else []
    if found.get("kept_start"):
        notes.append(f"{found['kept_start']:.0%} of the weights before training stays in the model's: held-out rows are ranked better so")
    return Tuned(model, judged, logits, every, joined=joined, history=at.history, facts=facts, notes=notes)


def _solve_first(work: Work, model: GPT2Classifier, fit: Rows, copies: Rows) -> dict[str, Any]:
    """Where the recipe says so, the head begins as the optimum on the untouched trunk's features; what is told of it.

    A random head would first drag the trunk about (Kumar et al., "Fine-tuning can distort pretrained features", ICLR 2022). Its penalty is
    chosen out of fold where rows are few, and much of the start stays.
    """
    recipe, messages = work.recipe, work.messages
    if recipe.tune == "head" or recipe.train.head_start != "solved":
        return {}
    last = last_tokens(in_dtype(model.transformer, recipe), messages, store=work.store, progress=work.progress)
    penalties = CANDIDATES if few(len(fit), len(work.classes)) else (START,)
    _, head = solved(
        model,
        recipe,
        messages,
        work.targets,
        work.weights,
        fit,
        copies,
        work.groups,
        last,
        work.progress,
        penalties,
        positive=work.positive,
    )
    return {"first_inverse_penalty": head.inverse_penalty}


def _states(work: Work, model: GPT2Classifier) -> States:
    recipe, messages, trunk = work.recipe, work.messages, model.transformer
    if recipe.tune == "full":
        if recipe.text.position == "attention":
            unfolded(trunk, trainable=True)
        freeze(model)
        return States(messages, 0, None, whole=False)
    if recipe.rank:
        freeze(model, head_only=True)
        if recipe.text.position == "attention":
            unfolded(trunk, trainable=True)  # an ordinary block, which gets adapters as the others do
        add_lora(trunk, recipe.rank, generator=torch.Generator().manual_seed(recipe.seed))
        trunk.ln_f.requires_grad_(True)
        return States(messages, 0, None, whole=False)
    if recipe.tune == "head":
        start = freeze(model, head_only=True)
        frozen = last_tokens(in_dtype(trunk, recipe), messages, store=work.store, progress=work.progress)
        return States(messages, start, frozen, whole=True)
    if (recipe.blocks or 0) > len(trunk.h):
        raise ConfigError(f"tune = {recipe.tune}: the backbone has {len(trunk.h)} blocks (the pooling block among them)")
    unfolded(trunk, trainable=True)
    start = freeze(model, blocks=recipe.blocks)
    if start == 0:
        return States(messages, 0, None, whole=False)
    frozen = all_tokens(in_dtype(trunk, recipe), messages, start, store=work.store, progress=work.progress)
    return States(messages, start, frozen, whole=False)


def _settings(recipe: Recipe) -> LoopSettings:
    train = recipe.train
    settled = {name: getattr(train, name) for name in LoopSettings.__dataclass_fields__ if hasattr(train, name)}
    autocast = torch.bfloat16 if recipe.compute.dtype == "bf16" else None
    return LoopSettings(**settled, autocast=autocast, seed=recipe.seed)
