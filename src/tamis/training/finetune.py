"""One training by the training loop.

head, adamw        features of the frozen trunk, mini-batches over head and final LayerNorm (the
reference)
blocks:K           states below the last K blocks once, then the loop over the rest
lora:R             the loop over adapters of rank R in every block, the final LayerNorm and the head
full               the loop over everything
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.evaluation.model_selection import selection_of
from tamis.gpt2.feature_cache import trunk_fingerprint
from tamis.gpt2.features import FeatureExtractor, all_tokens, last_tokens
from tamis.gpt2.freezing import freeze, trained_parameters, with_pooling
from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.lora import add_lora, merge_lora
from tamis.gpt2.model import GPT2, GPT2Classifier
from tamis.gpt2.pooling import unfolded
from tamis.gpt2.scoring import score
from tamis.head.linear_head import CANDIDATES, START
from tamis.head.linear_probe import solve_linear_probe
from tamis.head.result import Rows, TrainingResult
from tamis.head.training_set import TrainingSet
from tamis.training.callbacks import Callbacks
from tamis.training.checkpoint import Checkpointer
from tamis.training.collapse import CollapseCallback, remedy_for
from tamis.training.defaults import is_low_data
from tamis.training.loop import LoopCallback, Training
from tamis.training.loop_callbacks import (
    EarlyStopping,
    EpochCallback,
    HistoryCallback,
    ProgressCallback,
)
from tamis.training.shared_steps import share
from tamis.training.state import LoopRows, LoopSettings
from tamis.training.weight_averaging import copy_weights, interpolate, interpolate_by_validation


@dataclass(frozen=True)
class TrainingJob:
    """One training by the training loop."""

    recipe: Recipe
    """Resolved."""
    data: TrainingSet
    """Rows to fit, the epoch chosen on its validation rows."""
    callbacks: Callbacks
    scored: Rows
    """Rows whose scores are wanted; none of them is fitted."""
    name: str = "training"
    """Under which progress is reported."""

    def identity(self, trunk: GPT2, *rows: Rows) -> str:
        """Return a hash of the recipe, the trunk, and the texts and targets of the given rows."""
        texts, targets = self.data.texts, self.data.targets
        digest = hashlib.sha256(self.recipe.model_dump_json().encode())
        digest.update(trunk_fingerprint(trunk).encode() + texts.fingerprint.encode())
        for some in rows:
            digest.update(texts.distinct_of[some].tobytes())
            digest.update(targets[some].tobytes())
            if self.data.row_weights is not None:
                digest.update(self.data.row_weights[some].tobytes())
        return digest.hexdigest()


def finetune(job: TrainingJob, trunk: GPT2) -> TrainingResult:
    """Train a trunk (it is changed) with a new head, and score the `scored` rows.

    Raises:
        ConfigError: the trunk has fewer blocks than the recipe trains, or the loss is not finite.
        CheckpointError: the state in the checkpoint folder is damaged.
        DataError: there is no training row.
    """
    recipe, data = job.recipe, job.data
    model = GPT2Classifier(with_pooling(recipe, trunk), len(data.classes))
    model = model.to(recipe.compute.device)
    found = _solve_first(job, model)
    collapsed = CollapseCallback(data.classes, _remedy(recipe), job.callbacks.on_notice)
    training = prepared_training(job, model, collapsed)
    kept = recipe.train.wise_ft or 0.0
    start = copy_weights(training.trained) if kept else {}
    model.transformer.set_dropout(recipe.train.dropout or 0.0)
    if job.callbacks.checkpoint is not None:
        # Last of all: what is saved at an epoch's end has everything else behind it. Nothing is
        # saved on Ctrl-C: it may come in mid-step, and what is saved must go on to the same bytes.
        identity = job.identity(model.transformer, training.rows.fit, data.validation)
        saver = Checkpointer(job.callbacks.checkpoint, identity)
        saver.restore(training)
        training.callbacks = [*training.callbacks, saver]
    share(training, recipe.compute.threads)
    at = training.run()
    if isinstance(kept, str):
        found["wise_ft"] = interpolate_by_validation(training, start)
    elif start:
        interpolate(training.trained, start, kept)
    logits = training.logits(job.scored).double().numpy()
    model.transformer.set_dropout(0.0)
    trained = trained_parameters(model)
    merge_lora(model.transformer)
    concatenate = data.concatenate_negatives
    facts = {
        "epochs": at.epoch,
        "best_epoch": at.best_epoch,
        "steps": at.step,
        "trained_parameters": trained,
        **found,
        **({"processes": at.processes} if at.processes else {}),
    }
    notes = [collapsed.warned] if collapsed.warned else []
    if found.get("wise_ft"):
        notes.append(
            f"WiSE-FT: {found['wise_ft']:.0%} of the initial weights are averaged into the model, "
            "which gives better average precision on held-out rows"
        )
    return TrainingResult(
        model,
        job.scored,
        logits,
        concatenated_logits=None if concatenate is None else score(model, concatenate(job.scored)),
        history=at.history,
        facts=facts,
        notes=notes,
    )


def prepared_training(job: TrainingJob, model: GPT2Classifier, *further: LoopCallback) -> Training:
    """Return the loop over the rows to fit and their copies. What the recipe trains of the model
    is made trainable; states below it are computed.

    Raises:
        ConfigError: the trunk has fewer blocks than the recipe trains.
        DataError: there is no training row.
    """
    recipe, data = job.recipe, job.data
    states = _feature_extractor(job, model)
    fit = np.concatenate([data.fitted, data.copies])
    rows = LoopRows(
        states,
        data.targets,
        data.class_weights,
        fit,
        data.validation,
        selection_of(recipe, data.classes),
        data.retokenize if states.frozen is None else None,
        None if data.row_weights is None else data.row_weights / data.row_weights[fit].mean(),
    )
    callbacks: list[LoopCallback] = [
        ProgressCallback(job.callbacks.progress, job.name),
        HistoryCallback(job.callbacks.trackers),
        EpochCallback(job.callbacks.on_epoch),
        EarlyStopping(recipe.train.patience),
        *further,
        *job.callbacks.loop,
    ]
    return Training(model, rows, _settings(recipe), callbacks)


def _remedy(recipe: Recipe) -> str:
    return remedy_for(
        tune=recipe.tune,
        pooled=recipe.text.pooling in ("mean", "attention"),
        weighted=recipe.train.undersample or recipe.train.class_weight != "none",
        epochs=recipe.train.epochs or 1,
    )


def _solve_first(job: TrainingJob, model: GPT2Classifier) -> dict[str, Any]:
    """Where the recipe says so, start the head at the optimum on the untouched trunk's features;
    returns facts about it.

    A random head would first drag the trunk about (Kumar et al., "Fine-tuning can distort
    pretrained features", ICLR 2022). Its penalty is chosen out of fold where rows are few, and much
    of the start stays.
    """
    recipe, data = job.recipe, job.data
    if recipe.tune == "head" or recipe.train.head_init != "linear_probe":
        return {}
    cache, progress = job.callbacks.cache, job.callbacks.progress
    trunk = in_dtype(model.transformer, recipe.compute.dtype)
    last = last_tokens(trunk, data.texts, cache=cache, progress=progress)
    fitted = data.only(data.fitted, data.copies)
    penalties = CANDIDATES if is_low_data(len(fitted.train), len(data.classes)) else (START,)
    _, head = solve_linear_probe(
        model, recipe, fitted, last, penalties=penalties, progress=progress
    )
    return {"first_inverse_penalty": head.inverse_penalty}


def _feature_extractor(job: TrainingJob, model: GPT2Classifier) -> FeatureExtractor:
    recipe, messages, trunk = job.recipe, job.data.texts, model.transformer
    cache, progress = job.callbacks.cache, job.callbacks.progress
    if recipe.tune == "full":
        if recipe.text.pooling == "attention":
            unfolded(trunk, trainable=True)
        freeze(model)
        return FeatureExtractor(messages, 0, None, whole=False)
    if recipe.rank:
        freeze(model, head_only=True)
        if recipe.text.pooling == "attention":
            unfolded(
                trunk, trainable=True
            )  # an ordinary block, which gets adapters as the others do
        add_lora(trunk, recipe.rank, generator=torch.Generator().manual_seed(recipe.seed))
        trunk.ln_f.requires_grad_(True)
        return FeatureExtractor(messages, 0, None, whole=False)
    if recipe.tune == "head":
        start = freeze(model, head_only=True)
        inference = in_dtype(trunk, recipe.compute.dtype)
        frozen = last_tokens(inference, messages, cache=cache, progress=progress)
        return FeatureExtractor(messages, start, frozen, whole=True)
    if (recipe.blocks or 0) > len(trunk.h):
        raise ConfigError(
            f"tune = {recipe.tune}: the backbone has only {len(trunk.h)} blocks (including the "
            "pooling block)"
        )
    unfolded(trunk, trainable=True)
    start = freeze(model, blocks=recipe.blocks)
    if start == 0:
        return FeatureExtractor(messages, 0, None, whole=False)
    inference = in_dtype(trunk, recipe.compute.dtype)
    frozen = all_tokens(inference, messages, start, cache=cache, progress=progress)
    return FeatureExtractor(messages, start, frozen, whole=False)


def _settings(recipe: Recipe) -> LoopSettings:
    train = recipe.train
    settled = {
        name: getattr(train, name)
        for name in LoopSettings.__dataclass_fields__
        if hasattr(train, name)
    }
    autocast = torch.bfloat16 if recipe.compute.dtype == "bf16" else None
    return LoopSettings(**settled, autocast=autocast, seed=recipe.seed)
