"""The linear probe: features from one pass of the frozen trunk, selection of layer and pooling, and
the exact head.

Shapes: R training rows, W windows of all texts, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.evaluation.model_selection import selection_of
from tamis.gpt2.feature_cache import FeatureCache, Frozen
from tamis.gpt2.features import last_tokens
from tamis.gpt2.freezing import (
    Pooling,
    apply_pooling,
    check_layer,
    freeze,
    trained_parameters,
    with_pooling,
)
from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.model import GPT2, GPT2Classifier, MeanPoolingBlock
from tamis.head.layer_selection import (
    Layers,
    all_layers,
    candidates,
    choosing_rows,
    select_layer,
    selection_reason,
)
from tamis.head.linear_head import (
    CANDIDATES,
    ExactHead,
    HeadRows,
    HeadSearch,
    fit_head,
    fold_into,
    length_one,
)
from tamis.head.logistic_regression import LinearHead
from tamis.head.result import Rows, TrainingResult
from tamis.head.training_set import TrainingSet
from tamis.progress import Progress

APART_RATIO = 2.0
"""Number of texts for each row that chooses the layer, from which on a second pass over all texts,
through the chosen blocks alone, costs less time and memory than the states of every layer."""


def search_of(recipe: Recipe, data: TrainingSet) -> HeadSearch:
    """Return what the choice of a penalty goes by, and how rows are sampled for it."""
    return HeadSearch(
        selection=selection_of(recipe, data.classes),
        undersample=recipe.train.undersample,
        seed=recipe.seed,
    )


def solve_linear_probe(
    model: GPT2Classifier,
    recipe: Recipe,
    data: TrainingSet,
    last: Frozen,
    *,
    penalties: Sequence[float] = CANDIDATES,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], ExactHead]:
    """Fit the head on the rows of `data.train` and their copies, and fold it into the model.

    Args:
        model: its head is replaced.
        recipe: resolved.
        data: R rows to fit.
        last: (W, C) last tokens of the windows before the final LayerNorm.
        penalties: inverse penalties to try.
        progress: counts the fits.

    Returns:
        (R, C) features of the rows, and the head.
    """
    texts, rows, groups = data.texts, data.train, data.groups
    normed = torch.from_numpy(length_one(last, model.transformer.ln_f.eps))
    every = np.concatenate([rows, data.copies])
    features = texts.mean_over_windows(normed[texts.windows_of(every)], every).numpy()

    def logits_of(head: LinearHead, scored: Rows) -> NDArray[np.float64]:
        windows = torch.from_numpy(head.logits(normed[texts.windows_of(rows[scored])].numpy()))
        return np.asarray(texts.aggregate(windows, rows[scored]).numpy())

    fold_ids = data.fold_ids
    if fold_ids is not None:
        # A copy leaves with its row: they are of one group, and a group is of one fold.
        place = dict(zip(groups[rows].tolist(), fold_ids.tolist(), strict=True))
        fold_ids = np.array([place[group] for group in groups[every].tolist()], dtype=np.int64)
    copy_weight = recipe.train.augment_weight
    head = fit_head(
        HeadRows(
            features,
            data.targets[every],
            data.class_weights,
            groups[every],
            row_weights=np.where(np.arange(len(every)) < len(rows), 1.0, copy_weight)
            * data.weights_of(every),
            scored=len(rows),
            fold_ids=fold_ids,
        ),
        replace(search_of(recipe, data), penalties=tuple(penalties)),
        logits_of=logits_of,
        progress=progress,
    )
    fold_into(model, head.weight, head.bias)
    return features[: len(rows)], head


def fit_linear_probe(
    model: GPT2Classifier,
    recipe: Recipe,
    data: TrainingSet,
    *,
    cache: FeatureCache,
    progress: Progress | None = None,
) -> TrainingResult:
    """Select layer and pooling, fit the head, and score every training row out of fold.

    Args:
        model: the backbone with a head; it is changed.
        recipe: resolved.
        data: the rows; validation rows are fitted, too.
        cache: stores the states of the frozen trunk.
        progress: receives progress updates.

    Raises:
        ConfigError: the backbone has fewer blocks than the recipe asks for.
    """
    trunk, texts = model.transformer, data.texts
    if isinstance(trunk.h[-1], MeanPoolingBlock) or recipe.text.pooling == "last_position":
        with_pooling(recipe, trunk)
        last = last_tokens(
            in_dtype(trunk, recipe.compute.dtype), texts, cache=cache, progress=progress
        )
        chosen: dict[str, Any] = {
            "text.pooling": "last_position" if recipe.text.pooling == "last_position" else "mean"
        }
        notes: list[str] = []
        tried: list[dict[str, Any]] = []
    else:
        last, chosen, notes, tried = _select_features(
            trunk, recipe, data, cache=cache, progress=progress
        )
    freeze(model, head_only=True)
    features, head = solve_linear_probe(model, recipe, data, last, progress=progress)
    if not head.converged:
        notes.append("L-BFGS did not converge for the head; its metrics can be slightly lower.")
    facts = {
        "inverse_penalty": head.inverse_penalty,
        "trained_parameters": trained_parameters(model),
    }
    penalties: Mapping[float, float | None] = head.tried or {head.inverse_penalty: None}
    tried += [
        {"inverse_penalty": penalty, "out_of_fold_score": merit}
        for penalty, merit in penalties.items()
    ]
    scored = head.out_of_fold is not None
    return TrainingResult(
        model,
        data.train if scored else data.train[:0],
        np.empty((0, len(data.classes))) if head.out_of_fold is None else head.out_of_fold,
        features.astype(np.float32),
        history=[{"step": step, **row} for step, row in enumerate(tried, 1)],
        facts=facts,
        notes=notes,
        selected_settings=chosen,
    )


def choose_pooling(
    trunk: GPT2,
    recipe: Recipe,
    data: TrainingSet,
    tried: list[Pooling],
    *,
    cache: FeatureCache,
    progress: Progress | None = None,
) -> tuple[Pooling, dict[Pooling, float], Layers | None]:
    """Choose a layer and a pooling as `select_layer` does.

    Returns:
        The choice, the mean loss of each of `tried` (none where nothing could be compared), and
        the states of all texts; None if those were computed for some rows only.
    """
    rows = choosing_rows(data, recipe.seed)
    # Of many texts all layers are computed for the rows that choose alone.
    apart = len(tried) > 1 and len(data.texts.windows) > APART_RATIO * len(rows)
    choosing = replace(data, texts=data.texts.only(rows)) if apart else data
    states = all_layers(
        in_dtype(trunk, recipe.compute.dtype),
        choosing.texts,
        tuple(sorted({reading.layer for reading in tried})),
        cache=cache,
        progress=progress,
    )
    chosen, losses = select_layer(
        states,
        tried,
        choosing,
        search_of(recipe, data),
        epsilon=trunk.ln_f.eps,
        progress=progress,
    )
    return chosen, losses, None if apart else states


def _select_features(
    trunk: GPT2,
    recipe: Recipe,
    data: TrainingSet,
    *,
    cache: FeatureCache,
    progress: Progress | None,
) -> tuple[Frozen, dict[str, Any], list[str], list[dict[str, Any]]]:
    """Choose layer and pooling and make the trunk end there: the windows' last tokens (W, C), the
    settings found, notes, and what was tried.
    """
    asked = None if recipe.text.layers == "auto" else recipe.text.layers
    if asked is not None:
        check_layer(asked, trunk)
    depth = len(trunk.h)
    tried = candidates(depth, layer=asked, mode=recipe.text.pooling)
    reading, losses, states = choose_pooling(
        trunk, recipe, data, tried, cache=cache, progress=progress
    )
    apply_pooling(trunk, reading)
    last = (
        last_tokens(
            in_dtype(trunk, recipe.compute.dtype), data.texts, cache=cache, progress=progress
        )
        if states is None
        else states.last(reading)
    )
    notes = (
        [
            f"Features: {reading.mode} pooling of layer {reading.layer} of {depth}, "
            f"{selection_reason(reading, tried, losses)}."
        ]
        if losses
        else []
    )
    found = {"text.layers": reading.layer, "text.pooling": reading.mode}
    rows: list[dict[str, Any]] = [
        {"layer": one.layer, "pooling": one.mode, "out_of_fold_loss": loss}
        for one, loss in losses.items()
    ]
    return last, found, notes, rows
