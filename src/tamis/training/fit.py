"""From a backbone and labelled messages to a tuned classifier: which part is trained, from which
states, by which procedure.

head, exact        features of the frozen trunk once, the head solved to its optimum
                   (head/linear_probe.py)
anything else      the loop (finetune.py), once or, with folds, once for each and once for all rows
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tamis.config import Recipe
from tamis.errors import DataError
from tamis.evaluation.model_selection import Scores, named_positive
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.gpt2.model import GPT2, GPT2Classifier
from tamis.head.class_weights import class_weights
from tamis.head.linear_probe import fit_linear_probe
from tamis.head.result import Rows, TrainingResult
from tamis.progress import Progress
from tamis.text.encoding import EncodedTexts
from tamis.training.cross_validation import FoldScores, out_of_fold
from tamis.training.finetune import TrainingJob, finetune


def tune(
    backbone: Backbone,
    recipe: Recipe,
    messages: EncodedTexts,
    targets: Rows,
    classes: list[str],
    *,
    train: Rows,
    validation: Rows,
    groups: Rows,
    copies: Rows | None = None,
    fold_ids: Rows | None = None,
    retokenize: Callable[[int], EncodedTexts] | None = None,
    concatenate_negatives: Callable[[Rows], EncodedTexts] | None = None,
    cache: FeatureCache = NO_CACHE,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    on_epoch: Callable[[int, Scores], None] | None = None,
) -> TrainingResult:
    """Tune a classifier as a resolved recipe says.

    With `fold_ids` every training row gets a score from a model that did not see it, and all are
    fitted; the exact head draws its own where they are not given.

    Args:
        backbone: its model is changed and becomes the classifier's trunk.
        recipe: resolved by `resolve_defaults`.
        messages: texts of all rows, encoded by `prepared_tokenizer`; rows beyond `train` may be
            there to share the frozen trunk.
        targets: (R,) class numbers of the rows; only those of `train` and `copies` are read.
        classes: K labels.
        train: training rows, the validation rows among them.
        validation: held-out rows of `train`.
        groups: (R,) rows of one group never cross a fold.
        copies: further rows to fit, attacked copies of rows that are fitted; nothing is judged on
            them.
        fold_ids: (len(train),) the fold in which each training row is judged (cross_validation.py);
            its copies go out with it.
        retokenize: gives the rows to fit cut into other tokens for an epoch, numbered from 0, where
            the loop computes embeddings.
        concatenate_negatives: gives windows of long texts joined from the negatives among some
            rows, for the loop to score where they are held out.
        cache: where states of the frozen trunk are kept.
        checkpoint: folder for the loop's state; a state of the same work in it is taken up.
        progress: is told what goes on.
        say: is told at once where training goes wrong.
        on_epoch: is told an epoch's number (from 1) and its validation figures; what it raises ends
            the training.

    Raises:
        DataError: a class has no training row.
        ConfigError: the backbone has fewer blocks than are to be trained.
    """
    present = np.bincount(targets[train], minlength=len(classes))
    if (present == 0).any():
        raise DataError(
            f"class {classes[int(present.argmin())]!r} has no training row; every class needs one"
        )
    torch.manual_seed(recipe.seed)
    weights = class_weights(recipe, targets[train], classes)
    copies = train[:0] if copies is None else copies
    if recipe.tune == "head" and recipe.train.head_solver == "lbfgs":
        model = GPT2Classifier(backbone.model, len(classes)).to(recipe.compute.device)
        positive = named_positive(recipe.data.positive, classes)
        return fit_linear_probe(
            model,
            recipe,
            messages,
            targets,
            weights,
            train,
            copies,
            groups,
            cache,
            progress,
            fold_ids=fold_ids,
            positive=positive,
        )
    work = TrainingJob(
        recipe,
        messages,
        targets,
        classes,
        weights,
        groups,
        retokenize,
        concatenate_negatives,
        cache,
        progress,
        say,
    )
    scores = (
        None
        if fold_ids is None
        else _out_of_fold(work, backbone.model, train, copies, fold_ids, checkpoint)
    )
    fit = np.setdiff1d(train, validation)
    tuned = finetune(
        work,
        backbone.model,
        fit=fit,
        copies=copies,
        validation=validation,
        scored=validation,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
    )
    if scores is None:
        return tuned
    return replace(
        tuned,
        held_out=train,
        held_out_logits=scores.rows,
        concatenated_logits=scores.concatenated if concatenate_negatives else None,
        cross_validated=True,
    )


def _out_of_fold(
    job: TrainingJob,
    trunk: GPT2,
    train: Rows,
    copies: Rows,
    fold_ids: Rows,
    checkpoint: Path | None,
) -> FoldScores:
    """Scores of the training rows, each from a model trained without it, and of texts joined from
    them.
    """

    def fold(held: Rows, state: Path | None, name: str) -> FoldScores:
        judged, fit = train[held], np.delete(train, held)
        own = copies[~np.isin(job.groups[copies], job.groups[judged])]
        torch.manual_seed(job.recipe.seed)
        fresh = copy.deepcopy(trunk)
        tuned = finetune(
            job,
            fresh,
            fit=fit,
            copies=own,
            validation=train[:0],
            scored=judged,
            checkpoint=state,
            name=name,
        )
        return FoldScores(
            tuned.held_out_logits,
            np.empty((0, len(job.classes)))
            if tuned.concatenated_logits is None
            else tuned.concatenated_logits,
        )

    identity = job.identity(trunk, train, copies)
    found = out_of_fold(
        fold, fold_ids, classes=len(job.classes), identity=identity, checkpoint=checkpoint
    )
    torch.manual_seed(job.recipe.seed)
    return found
