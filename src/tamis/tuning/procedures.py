"""From a backbone and labelled messages to a tuned classifier: which part is trained, from which states, by which procedure.

head, exact        features of the frozen trunk once, the head solved to its optimum
head, epochs       the same features, mini-batches over head and final LayerNorm (the reference)
blocks:K           states below the last K blocks once, the loop over the rest
lora:R             the loop over adapters of rank R in every block, the final LayerNorm and the head
full               the loop over everything
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.errors import ConfigError, DataError
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.lora import add_lora, merge_lora
from tamis.gpt2.model import GPT2, GPT2Classifier, MeanPoolingBlock
from tamis.gpt2.pooling import add_mean_pooling, unfolded
from tamis.gpt2.tokenizer import Tokenizer
from tamis.progress import Progress
from tamis.tuning.checkpoint import Checkpointer
from tamis.tuning.features import NO_STORE, Frozen, StateStore, trunk_fingerprint
from tamis.tuning.head import ExactHead, fit_head, fold_into, length_one
from tamis.tuning.loop import LoopSettings, Training
from tamis.tuning.messages import Messages
from tamis.tuning.states import States, all_tokens, last_tokens

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Tuned:
    """A tuned classifier, with scores of rows it was not fitted on."""

    model: GPT2Classifier
    held_out: Rows
    """Training rows with held-out scores: all of them for the exact head, the validation rows otherwise, none if there were none."""
    held_out_logits: NDArray[np.float64]
    """(len(held_out), K)"""
    logits: NDArray[np.float64] | None = None
    """(R, K) of all messages, training rows and others, where frozen states made them cheap; None otherwise."""
    features: NDArray[np.float32] | None = None
    """(len(train), C) of length one, where the exact head was solved on them; None otherwise."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """A row a step and one an epoch with validation figures; empty for the exact head."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What was chosen or found on the way, for the report."""
    notes: list[str] = field(default_factory=list)


def prepared_tokenizer(recipe: Recipe, tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with the recipe's way of preparing a message in it."""
    text = recipe.text
    pad = text.fixed_length is not None and text.position == "last"
    return tokenizer.prepared(begin=text.begin, normalise=text.normalise, fixed_length=text.fixed_length, pad=pad)


def with_position(recipe: Recipe, trunk: GPT2) -> GPT2:
    """The trunk, ending in a pooling block where the head reads the mean. Changes the trunk given."""
    if recipe.text.position == "mean" and not isinstance(trunk.h[-1], MeanPoolingBlock):
        return add_mean_pooling(trunk)
    return trunk


def class_weights(recipe: Recipe, targets: Rows, classes: list[str]) -> NDArray[np.float64]:
    """(K,) weight of a row by its class.

    Raises:
        ConfigError: a weight names no class of the data.
    """
    wanted = recipe.train.class_weight
    if wanted == "balanced" and recipe.train.undersample:
        return np.ones(len(classes))  # what is trained on is balanced already; weights on top would turn the imbalance round
    if wanted == "balanced":
        return np.asarray(len(targets) / (len(classes) * np.bincount(targets, minlength=len(classes))))
    if isinstance(wanted, dict):
        unknown = sorted(set(wanted) - set(classes))
        if unknown:
            raise ConfigError(f"train.class_weight names {unknown[0]!r}, which is not one of the labels {classes}")
        return np.array([wanted.get(label, 1.0) for label in classes])
    return np.ones(len(classes))


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
    store: StateStore = NO_STORE,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Tune a classifier as a resolved recipe says.

    Args:
        backbone: its model is changed and becomes the classifier's trunk.
        recipe: resolved by `resolve`.
        messages: texts of all rows, encoded by `prepared_tokenizer`; rows beyond `train` may be there to share the frozen trunk.
        targets: (R,) class numbers of the rows; only those of `train` are read.
        classes: K labels.
        train: training rows, the validation rows among them.
        validation: held-out rows of `train`.
        groups: (R,) rows of one group never cross a fold.
        store: where states of the frozen trunk are kept.
        checkpoint: folder for the loop's state; a state of the same work in it is taken up.
        progress: is told what goes on.

    Raises:
        DataError: a class has no training row.
        ConfigError: the backbone has fewer blocks than are to be trained.
    """
    present = np.bincount(targets[train], minlength=len(classes))
    if (present == 0).any():
        raise DataError(f"class {classes[int(present.argmin())]!r} has no training row; every class needs one")
    torch.manual_seed(recipe.seed)
    model = GPT2Classifier(with_position(recipe, backbone.model), len(classes)).to(recipe.compute.device)
    weights = class_weights(recipe, targets[train], classes)
    if recipe.tune == "head" and recipe.train.head == "exact":
        return _exact(model, recipe, messages, targets, weights, train, groups, store, progress)
    fit = np.setdiff1d(train, validation)
    solved = _solve_first(model, recipe, messages, targets, weights, fit, groups, store, progress)
    states = _states(model, recipe, messages, store, progress)
    training = Training(model, states, targets, weights, _settings(recipe), fit_rows=fit, validation_rows=validation)
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
    logits = training.logits(validation).double().numpy()
    every = None if states.frozen is None else training.logits(np.arange(len(messages.distinct_of))).double().numpy()
    model.transformer.set_dropout(0.0)
    trained = trained_parameters(model)
    merge_lora(model.transformer)
    facts = {"epochs": at.epoch, "best_epoch": at.best_epoch, "steps": at.step, "trained_parameters": trained, **solved}
    return Tuned(model, validation, logits, every, history=at.history, facts=facts)


def trained_parameters(model: GPT2Classifier) -> int:
    """Number of weights that are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _solve_first(
    model: GPT2Classifier,
    recipe: Recipe,
    messages: Messages,
    targets: Rows,
    weights: NDArray[np.float64],
    fit: Rows,
    groups: Rows,
    store: StateStore,
    progress: Progress | None,
) -> dict[str, Any]:
    """Where the recipe says so, the head begins as the optimum on the untouched trunk's features; what is told of it.

    A random head would first drag the trunk about (Kumar et al., "Fine-tuning can distort pretrained features", ICLR 2022).
    """
    if recipe.tune == "head" or recipe.train.head_start != "solved":
        return {}
    _, _, head = _solved(model, recipe, messages, targets, weights, fit, groups, store, progress)
    return {"first_inverse_penalty": head.inverse_penalty}


def _solved(
    model: GPT2Classifier,
    recipe: Recipe,
    messages: Messages,
    targets: Rows,
    weights: NDArray[np.float64],
    rows: Rows,
    groups: Rows,
    store: StateStore,
    progress: Progress | None,
) -> tuple[Frozen, NDArray[np.float64], ExactHead]:
    """Solve the head on `rows` and fold it in; the windows' last tokens (W, C), the features (len(rows), C), and the head."""
    trunk = model.transformer
    last = last_tokens(in_dtype(trunk, recipe), messages, store=store, progress=progress)
    normed = torch.from_numpy(length_one(last, trunk.ln_f.eps))
    features = messages.mean_over_windows(normed[messages.windows_of(rows)], rows).numpy()
    head = fit_head(features, targets[rows], weights, groups=groups[rows], seed=recipe.seed, progress=progress)
    fold_into(model, head.weight, head.bias)
    return last, features, head


def _exact(
    model: GPT2Classifier,
    recipe: Recipe,
    messages: Messages,
    targets: Rows,
    weights: NDArray[np.float64],
    train: Rows,
    groups: Rows,
    store: StateStore,
    progress: Progress | None,
) -> Tuned:
    freeze(model, head_only=True)
    last, features, head = _solved(model, recipe, messages, targets, weights, train, groups, store, progress)
    notes = [] if head.converged else ["The head's solver stopped before its optimum; its figures may be a little low."]
    facts = {"inverse_penalty": head.inverse_penalty, "trained_parameters": trained_parameters(model)}
    rows = np.arange(len(messages.distinct_of))
    kept = features.astype(np.float32)
    with torch.inference_mode():
        windows = model.head(torch.from_numpy(np.array(last)).to(recipe.compute.device)).cpu()[messages.windows_of(rows)].double()
        every = messages.mean_over_windows(windows, rows).numpy()
    if head.out_of_fold is None:
        return Tuned(model, train[:0], np.empty((0, len(weights))), every, kept, facts=facts, notes=notes)
    return Tuned(model, train, head.out_of_fold, every, kept, facts=facts, notes=notes)


def freeze(model: GPT2Classifier, *, head_only: bool = False, blocks: int | None = None) -> int:
    """Leave trainable: head and final LayerNorm, also the last `blocks` blocks, or (neither given) everything.

    Returns the lowest trained block's number.
    """
    trunk = model.transformer
    start = len(trunk.h) if head_only else 0 if blocks is None else len(trunk.h) - blocks
    whole = not head_only and blocks is None
    for parameter in model.parameters():
        parameter.requires_grad_(whole)
    for module in (*trunk.h[start:], trunk.ln_f, model.score):
        for parameter in module.parameters():
            parameter.requires_grad_(True)
    return start


def in_dtype(trunk: GPT2, recipe: Recipe) -> GPT2:
    """The trunk itself in fp32, or a copy whose embeddings and blocks are in the recipe's type."""
    if recipe.compute.dtype != "bf16":
        return trunk
    import copy

    return copy.deepcopy(trunk).cast(torch.bfloat16)


def _states(model: GPT2Classifier, recipe: Recipe, messages: Messages, store: StateStore, progress: Progress | None) -> States:
    trunk = model.transformer
    if recipe.tune == "full":
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
