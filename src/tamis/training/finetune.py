"""One training by the loop: what is trained from which states, where the head begins, and the
scores of rows that it did not see.

head, epochs       features of the frozen trunk, mini-batches over head and final LayerNorm (the
                   reference)
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
from tamis.gpt2.feature_cache import FeatureCache, trunk_fingerprint
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
from tamis.progress import Progress
from tamis.text.encoding import EncodedTexts
from tamis.training.checkpoint import Checkpointer
from tamis.training.collapse import CollapseCallback, remedy_for
from tamis.training.defaults import is_low_data
from tamis.training.loop import LoopSettings
from tamis.training.weight_averaging import copy_weights, interpolate, interpolate_by_validation


@dataclass(frozen=True)
class TrainingJob:
    """What every training of one job is told."""

    recipe: Recipe
    """Resolved."""
    messages: EncodedTexts
    targets: Rows
    """(R,) class numbers"""
    classes: list[str]
    weights: NDArray[np.float64]
    """(K,) weight of a row by its class"""
    groups: Rows
    """(R,) rows of one group never cross a fold"""
    retokenize: Callable[[int], EncodedTexts] | None
    """Gives the rows to fit cut into other tokens for an epoch, numbered from 0."""
    concatenate_negatives: Callable[[Rows], EncodedTexts] | None
    """Gives windows of long texts joined from the negatives among some rows
    (decision/window_penalty.py)."""
    cache: FeatureCache
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


def finetune(
    job: TrainingJob,
    trunk: GPT2,
    *,
    fit: Rows,
    copies: Rows,
    validation: Rows,
    scored: Rows,
    checkpoint: Path | None,
    on_epoch: Callable[[int, Scores], None] | None = None,
    name: str = "training",
) -> TrainingResult:
    """Train a trunk, which changes, on `fit` and `copies`, the epoch chosen on `validation`, and
    score the `scored` rows.

    Progress is told under `name`; the others as in `tamis.training.fit.tune`.
    """
    recipe, messages = job.recipe, job.messages
    model = GPT2Classifier(with_pooling(recipe, trunk), len(job.classes)).to(recipe.compute.device)
    found = _solve_first(job, model, fit, copies)
    fit = np.concatenate([fit, copies])
    states = _feature_extractor(job, model)
    remedy = remedy_for(
        tune=recipe.tune,
        pooled=recipe.text.pooling in ("mean", "attention"),
        weighted=recipe.train.undersample or recipe.train.class_weight != "none",
        epochs=recipe.train.epochs or 1,
    )
    training = CollapseCallback(
        model,
        states,
        job.targets,
        job.weights,
        _settings(recipe),
        fit_rows=fit,
        validation_rows=validation,
        positive=job.positive,
    )
    training.watch(job.classes, remedy, job.say)
    training.on_epoch, training.name = on_epoch, name
    training.retokenize = job.retokenize if states.frozen is None else None
    kept = recipe.train.wise_ft or 0.0
    start = copy_weights(training.trained) if kept else {}
    model.transformer.set_dropout(recipe.train.dropout or 0.0)
    saver = None
    if checkpoint is not None:
        saver = Checkpointer(checkpoint, job.identity(model.transformer, fit, validation))
        saver.restore(training)
    # Nothing is saved on Ctrl-C: it may come in mid-step, and what is saved must go on to the same
    # bytes. The last mark serves.
    at = training.run(save=saver, progress=job.progress)
    if isinstance(kept, str):
        found["wise_ft"] = interpolate_by_validation(training, start)
    elif start:
        interpolate(training.trained, start, kept)
    logits = training.logits(scored).double().numpy()
    every = (
        None
        if states.frozen is None
        else training.logits(np.arange(len(messages.distinct_of))).double().numpy()
    )
    model.transformer.set_dropout(0.0)
    trained = trained_parameters(model)
    merge_lora(model.transformer)
    joined = (
        None
        if job.concatenate_negatives is None
        else score(model, job.concatenate_negatives(scored))
    )
    facts = {
        "epochs": at.epoch,
        "best_epoch": at.best_epoch,
        "steps": at.step,
        "trained_parameters": trained,
        **found,
    }
    notes = [training.warned] if training.warned else []
    if found.get("wise_ft"):
        notes.append(
            f"{found['wise_ft']:.0%} of the weights before training stays in the model's: "
            "held-out rows are ranked better so"
        )
    return TrainingResult(
        model,
        scored,
        logits,
        every,
        concatenated_logits=joined,
        history=at.history,
        facts=facts,
        notes=notes,
    )


def _solve_first(
    job: TrainingJob, model: GPT2Classifier, fit: Rows, copies: Rows
) -> dict[str, Any]:
    """Where the recipe says so, the head begins as the optimum on the untouched trunk's features;
    what is told of it.

    A random head would first drag the trunk about (Kumar et al., "Fine-tuning can distort
    pretrained features", ICLR 2022). Its penalty is chosen out of fold where rows are few, and much
    of the start stays.
    """
    recipe, messages = job.recipe, job.messages
    if recipe.tune == "head" or recipe.train.head_init != "linear_probe":
        return {}
    last = last_tokens(
        in_dtype(model.transformer, recipe), messages, cache=job.cache, progress=job.progress
    )
    penalties = CANDIDATES if is_low_data(len(fit), len(job.classes)) else (START,)
    _, head = solve_linear_probe(
        model,
        recipe,
        messages,
        job.targets,
        job.weights,
        fit,
        copies,
        job.groups,
        last,
        job.progress,
        penalties,
        positive=job.positive,
    )
    return {"first_inverse_penalty": head.inverse_penalty}


def _feature_extractor(job: TrainingJob, model: GPT2Classifier) -> FeatureExtractor:
    recipe, messages, trunk = job.recipe, job.messages, model.transformer
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
        frozen = last_tokens(
            in_dtype(trunk, recipe), messages, cache=job.cache, progress=job.progress
        )
        return FeatureExtractor(messages, start, frozen, whole=True)
    if (recipe.blocks or 0) > len(trunk.h):
        raise ConfigError(
            f"tune = {recipe.tune}: the backbone has {len(trunk.h)} blocks (the pooling block "
            "among them)"
        )
    unfolded(trunk, trainable=True)
    start = freeze(model, blocks=recipe.blocks)
    if start == 0:
        return FeatureExtractor(messages, 0, None, whole=False)
    frozen = all_tokens(
        in_dtype(trunk, recipe), messages, start, cache=job.cache, progress=job.progress
    )
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
