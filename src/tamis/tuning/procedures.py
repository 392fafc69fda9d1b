"""From a backbone and labelled messages to a tuned classifier: which part is trained, from which states, by which procedure.

head, exact        features of the frozen trunk once, the head solved to its optimum
head, epochs       the same features, mini-batches over head and final LayerNorm (the reference)
blocks:K           states below the last K blocks once, the loop over the rest
lora:R             the loop over adapters of rank R in every block, the final LayerNorm and the head
full               the loop over everything
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.errors import ConfigError, DataError
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.lora import add_lora, merge_lora
from tamis.gpt2.model import GPT2, GPT2Classifier
from tamis.gpt2.pooling import unfolded
from tamis.gpt2.tokenizer import Tokenizer
from tamis.progress import Progress
from tamis.tuning.checkpoint import Checkpointer
from tamis.tuning.collapse import Watched, remedy_for
from tamis.tuning.crossfit import out_of_fold
from tamis.tuning.exact import exact, solved
from tamis.tuning.features import NO_STORE, StateStore, trunk_fingerprint
from tamis.tuning.loop import LoopSettings
from tamis.tuning.messages import Messages
from tamis.tuning.shares import class_weights
from tamis.tuning.states import States, all_tokens, last_tokens
from tamis.tuning.trunk import freeze, in_dtype, trained_parameters, with_position
from tamis.tuning.tuned import Rows, Tuned
from tamis.tuning.validation import Scores


def prepared_tokenizer(recipe: Recipe, tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with the recipe's way of preparing a message in it."""
    text = recipe.text
    pad = text.fixed_length is not None and text.position == "last"
    return tokenizer.prepared(begin=text.begin, normalise=text.normalise, fixed_length=text.fixed_length, pad=pad)


def tune(
    backbone: Backbone,
    recipe: Recipe,
    messages: Messages,
    targets: Rows,
    classes: list[str],
    *,
    train: Rows,
    validation: Rows,
    groups: Rows,
    copies: Rows | None = None,
    recut: Callable[[int], Messages] | None = None,
    store: StateStore = NO_STORE,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    on_epoch: Callable[[int, Scores], None] | None = None,
) -> Tuned:
    """Tune a classifier as a resolved recipe says.

    With `verdict.folds` and no validation rows every training row gets a score from a model that did not see it, and all are fitted.

    Args:
        backbone: its model is changed and becomes the classifier's trunk.
        recipe: resolved by `resolve`.
        messages: texts of all rows, encoded by `prepared_tokenizer`; rows beyond `train` may be there to share the frozen trunk.
        targets: (R,) class numbers of the rows; only those of `train` and `copies` are read.
        classes: K labels.
        train: training rows, the validation rows among them.
        validation: held-out rows of `train`.
        groups: (R,) rows of one group never cross a fold.
        copies: further rows to fit, attacked copies of rows that are fitted; nothing is judged on them.
        recut: gives the rows to fit cut into other tokens for an epoch, numbered from 0, where the loop computes embeddings.
        store: where states of the frozen trunk are kept.
        checkpoint: folder for the loop's state; a state of the same work in it is taken up.
        progress: is told what goes on.
        say: is told at once where training goes wrong.
        on_epoch: is told an epoch's number (from 1) and its validation figures; what it raises ends the training.

    Raises:
        DataError: a class has no training row.
        ConfigError: the backbone has fewer blocks than are to be trained.
    """
    present = np.bincount(targets[train], minlength=len(classes))
    if (present == 0).any():
        raise DataError(f"class {classes[int(present.argmin())]!r} has no training row; every class needs one")
    torch.manual_seed(recipe.seed)
    weights = class_weights(recipe, targets[train], classes)
    copies = train[:0] if copies is None else copies
    if recipe.tune == "head" and recipe.train.head == "exact":
        model = GPT2Classifier(backbone.model, len(classes)).to(recipe.compute.device)
        return exact(model, recipe, messages, targets, weights, train, copies, groups, store, progress)
    judged: NDArray[np.float64] | None = None
    if recipe.verdict.folds and not len(validation):

        def fold(held: Rows, folder: Path | None, name: str) -> NDArray[np.float64]:
            own = copies[~np.isin(groups[copies], groups[train[held]])]
            torch.manual_seed(recipe.seed)
            fresh = copy.deepcopy(backbone.model)
            return _looped(
                fresh, recipe, messages, targets, weights, classes, train[:0],
                fit=np.delete(train, held), judged=train[held], copies=own, groups=groups, recut=recut,
                store=store, checkpoint=folder, progress=progress, say=say, name=name,
            ).held_out_logits  # fmt: skip

        judged = out_of_fold(
            fold,
            targets[train],
            groups[train],
            classes=len(classes),
            folds=recipe.verdict.folds,
            seed=recipe.seed,
            identity=_identity(GPT2Classifier(backbone.model, len(classes)), recipe, messages, targets, train, copies),
            checkpoint=checkpoint,
        )
        torch.manual_seed(recipe.seed)
    tuned = _looped(
        backbone.model, recipe, messages, targets, weights, classes, validation,
        fit=np.setdiff1d(train, validation), judged=validation, copies=copies, groups=groups, recut=recut,
        store=store, checkpoint=checkpoint, progress=progress, say=say, on_epoch=on_epoch,
    )  # fmt: skip
    return tuned if judged is None else replace(tuned, held_out=train, held_out_logits=judged, crossfit=True)


def _looped(
    trunk: GPT2,
    recipe: Recipe,
    messages: Messages,
    targets: Rows,
    weights: NDArray[np.float64],
    classes: list[str],
    validation: Rows,
    *,
    fit: Rows,
    judged: Rows,
    copies: Rows,
    groups: Rows,
    recut: Callable[[int], Messages] | None,
    store: StateStore,
    checkpoint: Path | None,
    progress: Progress | None,
    say: Callable[[str], None] | None,
    on_epoch: Callable[[int, Scores], None] | None = None,
    name: str = "training",
) -> Tuned:
    """Train by the loop on `fit` and `copies`, the epoch chosen on `validation` rows, and score the `judged` ones."""
    model = GPT2Classifier(with_position(recipe, trunk), len(classes)).to(recipe.compute.device)
    solved = _solve_first(model, recipe, messages, targets, weights, fit, copies, groups, store, progress)
    fit = np.concatenate([fit, copies])
    states = _states(model, recipe, messages, store, progress)
    remedy = remedy_for(
        tune=recipe.tune,
        pooled=recipe.text.position in ("mean", "attention"),
        weighted=recipe.train.undersample or recipe.train.class_weight != "none",
        epochs=recipe.train.epochs or 1,
    )
    training = Watched(model, states, targets, weights, _settings(recipe), fit_rows=fit, validation_rows=validation)
    training.watch(classes, remedy, say)
    training.on_epoch, training.name = on_epoch, name
    if recut is not None and states.frozen is None:
        training.recut = recut
    kept = recipe.train.keep_start or 0.0
    before = {name: p.detach().clone() for name, p in training.trained.items()} if kept else {}
    model.transformer.set_dropout(recipe.train.dropout or 0.0)
    saver = None
    if checkpoint is not None:
        saver = Checkpointer(checkpoint, _identity(model, recipe, messages, targets, fit, validation))
        saver.restore(training)
    # Nothing is saved on Ctrl-C: it may come in mid-step, and what is saved must go on to the same bytes. The last mark serves.
    at = training.run(save=saver, progress=progress)
    with torch.no_grad():
        for name, start in before.items():
            training.trained[name].lerp_(start, kept)
    logits = training.logits(judged).double().numpy()
    every = None if states.frozen is None else training.logits(np.arange(len(messages.distinct_of))).double().numpy()
    model.transformer.set_dropout(0.0)
    trained = trained_parameters(model)
    merge_lora(model.transformer)
    facts = {"epochs": at.epoch, "best_epoch": at.best_epoch, "steps": at.step, "trained_parameters": trained, **solved}
    notes = [training.warned] if training.warned else []
    return Tuned(model, judged, logits, every, history=at.history, facts=facts, notes=notes)


def _solve_first(
    model: GPT2Classifier,
    recipe: Recipe,
    messages: Messages,
    targets: Rows,
    weights: NDArray[np.float64],
    fit: Rows,
    copies: Rows,
    groups: Rows,
    store: StateStore,
    progress: Progress | None,
) -> dict[str, Any]:
    """Where the recipe says so, the head begins as the optimum on the untouched trunk's features; what is told of it.

    A random head would first drag the trunk about (Kumar et al., "Fine-tuning can distort pretrained features", ICLR 2022).
    """
    if recipe.tune == "head" or recipe.train.head_start != "solved":
        return {}
    last = last_tokens(in_dtype(model.transformer, recipe), messages, store=store, progress=progress)
    _, head = solved(model, recipe, messages, targets, weights, fit, copies, groups, last, progress)
    return {"first_inverse_penalty": head.inverse_penalty}


def _states(model: GPT2Classifier, recipe: Recipe, messages: Messages, store: StateStore, progress: Progress | None) -> States:
    trunk = model.transformer
    if recipe.tune == "full":
        if recipe.text.position == "attention" and not recipe.train.next_token_weight:  # next tokens are read under the pooling block
            unfolded(trunk, trainable=True)
        freeze(model)
        return States(messages, 0, None, whole=False)
    if recipe.rank:
        freeze(model, head_only=True)
        add_lora(trunk, recipe.rank, generator=torch.Generator().manual_seed(recipe.seed))
        trunk.ln_f.requires_grad_(True)
        return States(messages, 0, None, whole=False)
    if recipe.tune == "head":
        start = freeze(model, head_only=True)
        frozen = last_tokens(in_dtype(trunk, recipe), messages, store=store, progress=progress)
        return States(messages, start, frozen, whole=True)
    if (recipe.blocks or 0) > len(trunk.h):
        raise ConfigError(f"tune = {recipe.tune}: the backbone has {len(trunk.h)} blocks (the pooling block among them)")
    unfolded(trunk, trainable=True)
    start = freeze(model, blocks=recipe.blocks)
    if start == 0:
        return States(messages, 0, None, whole=False)
    frozen = all_tokens(in_dtype(trunk, recipe), messages, start, store=store, progress=progress)
    return States(messages, start, frozen, whole=False)


def _settings(recipe: Recipe) -> LoopSettings:
    train = recipe.train
    settled = {name: getattr(train, name) for name in LoopSettings.__dataclass_fields__ if hasattr(train, name)}
    autocast = torch.bfloat16 if recipe.compute.dtype == "bf16" else None
    return LoopSettings(**settled, autocast=autocast, seed=recipe.seed)


def _identity(model: GPT2Classifier, recipe: Recipe, messages: Messages, targets: Rows, fit: Rows, validation: Rows) -> str:
    digest = hashlib.sha256(recipe.model_dump_json().encode())
    digest.update(trunk_fingerprint(model.transformer).encode() + messages.fingerprint.encode())
    for rows in (messages.distinct_of[fit], targets[fit], messages.distinct_of[validation], targets[validation]):
        digest.update(rows.tobytes())
    return digest.hexdigest()
