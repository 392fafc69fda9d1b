"""The head alone, solved: features from one pass of the frozen trunk, the layer and pooling that do
best, the head's optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.gpt2.feature_cache import FeatureCache, Frozen
from tamis.gpt2.features import last_tokens
from tamis.gpt2.freezing import apply_pooling, check_layer, freeze, trained_parameters, with_pooling
from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.model import GPT2, GPT2Classifier, MeanPoolingBlock
from tamis.head.layer_selection import all_layers, candidates, select_layer, selection_reason
from tamis.head.linear_head import CANDIDATES, ExactHead, fit_head, fold_into, length_one
from tamis.head.logistic_regression import LinearHead
from tamis.head.result import Rows, TrainingResult
from tamis.progress import Progress
from tamis.text.encoding import EncodedTexts


def solve_linear_probe(
    model: GPT2Classifier,
    recipe: Recipe,
    messages: EncodedTexts,
    targets: Rows,
    weights: NDArray[np.float64],
    rows: Rows,
    copies: Rows,
    groups: Rows,
    last: Frozen,
    progress: Progress | None,
    penalties: Sequence[float] = CANDIDATES,
    *,
    fold_ids: Rows | None = None,
    positive: int | None = None,
) -> tuple[NDArray[np.float64], ExactHead]:
    """Solve the head on `rows` and their copies and fold it in; the features (len(rows), C) of
    `rows`, and the head.

    `last` (W, C) are the windows' last tokens before the final LayerNorm; `penalties` as fit_head's
    candidates, `fold_ids` (len(rows),) and `positive` as there.
    """
    normed = torch.from_numpy(length_one(last, model.transformer.ln_f.eps))
    every = np.concatenate([rows, copies])
    features = messages.mean_over_windows(normed[messages.windows_of(every)], every).numpy()

    def logits_of(head: LinearHead, judged: Rows) -> NDArray[np.float64]:
        windows = torch.from_numpy(head.logits(normed[messages.windows_of(rows[judged])].numpy()))
        return np.asarray(messages.aggregate(windows, rows[judged]).numpy())

    if fold_ids is not None:
        # A copy goes out with its row: they are of one group, and a group is of one part.
        place = dict(zip(groups[rows].tolist(), fold_ids.tolist(), strict=True))
        fold_ids = np.array([place[group] for group in groups[every].tolist()], dtype=np.int64)
    head = fit_head(
        features,
        targets[every],
        weights,
        groups=groups[every],
        row_weights=np.where(np.arange(len(every)) < len(rows), 1.0, recipe.train.augment_weight),
        scored_rows=len(rows),
        fold_ids=fold_ids,
        positive=positive,
        undersample=recipe.train.undersample,
        logits_of=logits_of,
        candidates=penalties,
        seed=recipe.seed,
        progress=progress,
    )
    fold_into(model, head.weight, head.bias)
    return features[: len(rows)], head


def fit_linear_probe(
    model: GPT2Classifier,
    recipe: Recipe,
    messages: EncodedTexts,
    targets: Rows,
    weights: NDArray[np.float64],
    train: Rows,
    copies: Rows,
    groups: Rows,
    cache: FeatureCache,
    progress: Progress | None,
    *,
    fold_ids: Rows | None,
    positive: int | None,
) -> TrainingResult:
    """Choose what the head reads, solve it, and score every row out of fold.

    Arguments as `tune`'s; `weights` (K,) by class, `positive` the number of the positive class of
    two where one is named.
    """
    trunk = model.transformer
    if isinstance(trunk.h[-1], MeanPoolingBlock) or recipe.text.pooling == "last_position":
        with_pooling(recipe, trunk)
        last = last_tokens(in_dtype(trunk, recipe), messages, cache=cache, progress=progress)
        chosen: dict[str, Any] = {
            "text.pooling": "last_position" if recipe.text.pooling == "last_position" else "mean"
        }
        notes: list[str] = []
    else:
        last, chosen, notes = _select_features(
            trunk, recipe, messages, targets, weights, train, groups, cache, progress, positive
        )
    freeze(model, head_only=True)
    about_rows: dict[str, Any] = {"fold_ids": fold_ids, "positive": positive}
    features, head = solve_linear_probe(
        model,
        recipe,
        messages,
        targets,
        weights,
        train,
        copies,
        groups,
        last,
        progress,
        **about_rows,
    )
    if not head.converged:
        notes.append(
            "The head's solver stopped before its optimum; its figures may be a little low."
        )
    facts = {
        "inverse_penalty": head.inverse_penalty,
        "trained_parameters": trained_parameters(model),
    }
    rows = np.arange(len(messages.distinct_of))
    kept = features.astype(np.float32)
    with torch.inference_mode():
        windows = (
            model.head(torch.from_numpy(np.array(last)).to(recipe.compute.device))
            .cpu()[messages.windows_of(rows)]
            .double()
        )
        every = messages.aggregate(windows, rows).numpy()
    about: dict[str, Any] = {"facts": facts, "notes": notes, "selected_settings": chosen}
    if head.out_of_fold is None:
        return TrainingResult(model, train[:0], np.empty((0, len(weights))), every, kept, **about)
    return TrainingResult(model, train, head.out_of_fold, every, kept, **about)


def _select_features(
    trunk: GPT2,
    recipe: Recipe,
    messages: EncodedTexts,
    targets: Rows,
    weights: NDArray[np.float64],
    train: Rows,
    groups: Rows,
    cache: FeatureCache,
    progress: Progress | None,
    positive: int | None,
) -> tuple[Frozen, dict[str, Any], list[str]]:
    """Choose layer and pooling and make the trunk end there: the windows' last tokens (W, C), the
    settings found, and what to say.
    """
    asked = None if recipe.text.layers == "auto" else recipe.text.layers
    if asked is not None:
        check_layer(asked, trunk)
    tried = candidates(len(trunk.h), layer=asked, mode=recipe.text.pooling)
    layers = tuple(sorted({reading.layer for reading in tried}))
    states = all_layers(in_dtype(trunk, recipe), messages, layers, cache=cache, progress=progress)
    epsilon = trunk.ln_f.eps
    reading, merits = select_layer(
        states,
        tried,
        messages,
        targets,
        groups,
        train,
        weights,
        epsilon=epsilon,
        seed=recipe.seed,
        positive=positive,
        undersample=recipe.train.undersample,
        progress=progress,
    )
    depth = len(trunk.h)
    last, factor = states.last(reading)
    apply_pooling(trunk, reading, factor)
    notes = (
        [
            f"The head reads {reading.mode} of layer {reading.layer} of {depth}: "
            f"{selection_reason(reading, tried, merits)}."
        ]
        if merits
        else []
    )
    return last, {"text.layers": reading.layer, "text.pooling": reading.mode}, notes
