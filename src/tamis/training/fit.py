"""Train a classifier: from a backbone and a training set to a model with held-out scores.

head, lbfgs        features of the frozen trunk once, then the exact head (head/linear_probe.py)
everything else    the training loop (finetune.py): once, and once more per fold if there are folds
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tamis.compute.isolation import isolated
from tamis.config import Recipe
from tamis.errors import DataError
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.model import GPT2, GPT2Classifier
from tamis.head.linear_probe import fit_linear_probe
from tamis.head.result import Rows, TrainingResult
from tamis.head.training_set import TrainingSet
from tamis.training.callbacks import SILENT, Callbacks, ignore
from tamis.training.cross_validation import FoldScores, out_of_fold
from tamis.training.depth_selection import choose_depth
from tamis.training.finetune import TrainingJob, finetune


def fit(
    backbone: Backbone, recipe: Recipe, data: TrainingSet, callbacks: Callbacks = SILENT
) -> TrainingResult:
    """Train a classifier by a resolved recipe.

    With `data.fold_ids` every training row is scored by a model that was trained without it, and
    the final model is trained on all rows. If they are not given, the exact head draws its own
    folds. The caller's random states, threads and deterministic mode do not change.

    Args:
        backbone: its model is changed and becomes the trunk of the classifier.
        recipe: resolved by `resolve_defaults`.
        data: training rows, copies and folds.
        callbacks: hooks, checkpoint folder and feature cache.

    Raises:
        DataError: a class has no training row.
        ConfigError: the backbone has fewer blocks than the recipe trains.
        CheckpointError: the state in the checkpoint folder is damaged.
    """
    present = np.bincount(data.targets[data.train], minlength=len(data.classes))
    if (present == 0).any():
        missing = data.classes[int(present.argmin())]
        raise DataError(f"class {missing!r} has no training row; every class needs one")
    with isolated(recipe.compute.device, recipe.compute.threads, seed=recipe.seed):
        if recipe.tune == "head" and recipe.train.head_solver == "lbfgs":
            model = GPT2Classifier(backbone.model, len(data.classes)).to(recipe.compute.device)
            result = fit_linear_probe(
                model, recipe, data, cache=callbacks.cache, progress=callbacks.progress
            )
            for row in result.history:
                for tracker in callbacks.trackers:
                    tracker.log(row)
            return result
        chosen, notes = choose_depth(backbone.model, recipe, data, callbacks)
        job = TrainingJob(recipe.changed(chosen), data, callbacks, data.validation)
        result = (
            finetune(job, backbone.model)
            if data.fold_ids is None
            else _in_folds(job, backbone.model, data.fold_ids)
        )
        return replace(
            result,
            notes=[*notes, *result.notes],
            selected_settings=chosen | result.selected_settings,
        )


def _in_folds(job: TrainingJob, trunk: GPT2, fold_ids: Rows) -> TrainingResult:
    """Train on all rows, and score each row by a model trained without its fold."""
    data = job.data

    def fold(held: Rows, state: Path | None, name: str) -> FoldScores:
        scored, fitted = data.train[held], np.delete(data.train, held)
        own = data.copies[~np.isin(data.groups[data.copies], data.groups[scored])]
        torch.manual_seed(job.recipe.seed)
        hooks = replace(job.callbacks, checkpoint=state, on_epoch=ignore, trackers=(), loop=())
        part = replace(job, data=data.only(fitted, own), callbacks=hooks, scored=scored, name=name)
        found = finetune(part, copy.deepcopy(trunk))
        concatenated = found.concatenated_logits
        return FoldScores(
            found.held_out_logits,
            np.empty((0, len(data.classes))) if concatenated is None else concatenated,
        )

    scores = out_of_fold(
        fold,
        fold_ids,
        classes=len(data.classes),
        identity=job.identity(trunk, data.train, data.copies),
        checkpoint=job.callbacks.checkpoint,
    )
    torch.manual_seed(job.recipe.seed)
    return replace(
        finetune(job, trunk),
        held_out=data.train,
        held_out_logits=scores.rows,
        concatenated_logits=scores.concatenated if data.concatenate_negatives else None,
        cross_validated=True,
    )
