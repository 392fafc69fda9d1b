"""Select the layer and the pooling of a linear head by out-of-fold scores; the states of all
candidates come from one pass of the frozen trunk.

A lower layer means fewer blocks in the saved model. The pooling is one of `POOLING_MODES`, which a
GPT-2 folder can represent: the mean of all tokens (a pooling block) or the last token. Shapes: W
windows, C channels, S layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.data.folds import stratified_group_folds
from tamis.evaluation.model_selection import validate
from tamis.gpt2.feature_cache import FeatureCache, Frozen
from tamis.gpt2.features import States, compute_cached
from tamis.gpt2.freezing import Pooling
from tamis.gpt2.model import GPT2
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import pooling_factor
from tamis.head.linear_head import DEFAULT, HeadSearch, length_one, solve
from tamis.head.training_set import TrainingSet
from tamis.progress import Progress, Silent
from tamis.text.encoding import EncodedTexts

POOLING_MODES = ("mean", "last_token")
MOST_LAYERS = 6
"""Layers tried; of a deeper trunk evenly spaced ones, the last among them."""
MOST_ROWS = 4000
"""Rows that choose, drawn by seed: enough for a difference that matters, and seconds whatever the
number of classes."""
FOLDS = 3
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Layers:
    """Last token and mean of several layers, from one pass."""

    layers: tuple[int, ...]
    states: Frozen
    """(W, 2 * S * C): of each layer the last token's state, then the mean over tokens of the final
    LayerNorm's output"""
    channels: int
    factor: float
    """of the mean, in a pooling block (`pooling_factor`)"""

    def last(self, pooling: Pooling) -> Frozen:
        """Return the (W, C) states of the last tokens before the final LayerNorm."""
        start = 2 * self.channels * self.layers.index(pooling.layer)
        own = self.states[:, start : start + self.channels]
        if pooling.mode == "last_token":
            return np.ascontiguousarray(own)
        mean = self.states[:, start + self.channels : start + 2 * self.channels]
        return own + np.float32(self.factor) * mean


def candidates(depth: int, *, layer: int | None, mode: str) -> list[Pooling]:
    """Return the poolings to try, the default first (all blocks, mean).

    Args:
        depth: number of blocks of the trunk.
        layer: the only layer to try; None tries several.
        mode: the only pooling mode to try, or `auto`.
    """
    spread = (
        np.linspace(depth / min(depth, MOST_LAYERS), depth, min(depth, MOST_LAYERS))
        .round()
        .astype(int)
        .tolist()
    )
    layers = sorted(set(spread), reverse=True) if layer is None else [layer]
    return [
        Pooling(one, way)
        for one in layers
        for way in (POOLING_MODES if mode == "auto" else (mode,))
    ]


def all_layers(
    model: GPT2,
    messages: EncodedTexts,
    layers: tuple[int, ...],
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> Layers:
    """Return last token and mean of the given layers for every window."""

    def parts(windows: NDArray[Any]) -> Iterator[torch.Tensor]:
        packed = pack([messages.windows[w] for w in windows]).to(model.wte.weight.device)
        hidden = model.embed(packed)
        for number, block in enumerate(model.h[: max(layers)], 1):
            hidden = block(hidden, packed)
            if number in layers:
                normed = model.normed(hidden)
                yield packed.restore(hidden.index_select(0, packed.last)).float()
                means = [
                    part.view(g.rows, g.length, -1).mean(1)
                    for part, g in zip(packed.split(normed), packed.groups, strict=True)
                ]
                yield packed.restore(torch.cat(means))

    def rows(windows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return windows, torch.cat(list(parts(windows)), 1).cpu().numpy()

    width = 2 * len(layers) * model.config.n_embd
    wanted = States(f"layers:{layers}", len(messages.windows), width, final_norm=True)
    states = compute_cached(model, messages, wanted, rows, cache=cache, progress=progress)
    return Layers(layers, states, model.config.n_embd, pooling_factor(model.ln_f))


def select_layer(
    layers: Layers,
    tried: list[Pooling],
    data: TrainingSet,
    search: HeadSearch,
    *,
    epsilon: float,
    progress: Progress | None = None,
) -> tuple[Pooling, dict[Pooling, float]]:
    """Return the pooling with the best out-of-fold score on the training rows, and all scores.

    The result is the first of `tried` unless another one is better by more than half a row of the
    rarest class (or of the named positive class) is worth.

    Args:
        layers: states of the windows of `data.texts`.
        tried: poolings to try, the default first.
        data: the rows; those of `data.train` are scored.
        search: what the choice goes by, undersampling and seed.
        epsilon: epsilon of the final LayerNorm.
        progress: counts the fits.
    """
    if len(tried) == 1:
        return tried[0], {}
    rows, seed, messages = data.train, search.seed, data.texts
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ROWS])
    classes = len(data.class_weights)
    own = data.targets[rows]
    folds = stratified_group_folds(own, data.groups[rows], classes, seed, most=FOLDS)
    if not folds:
        return tried[0], {}
    merits: dict[Pooling, float] = {}
    with (progress or Silent()).task("layers", total=len(tried) * len(folds), unit="fits") as task:
        for reading in tried:
            last = layers.last(reading)
            normed = torch.from_numpy(length_one(last[messages.windows_of(rows)], epsilon))
            features = messages.mean_over_windows(normed, rows).numpy()
            logits = np.empty((len(rows), classes))
            for within, outside in folds:
                inside = search.fitted(within, own)
                weights = data.class_weights[own[inside]] * data.weights_of(rows[inside])
                head = solve(
                    features[inside], own[inside], weights, DEFAULT, tolerance=TOLERANCE
                ).head
                logits[outside] = head.logits(features[outside])
                task.advance()
            merits[reading] = validate(
                torch.from_numpy(logits), torch.from_numpy(own), search.selection
            ).merit
    counts = np.bincount(own, minlength=classes)
    level = search.selection.level(counts)
    best = max(tried, key=lambda reading: merits[reading])
    return (best if merits[best] > merits[tried[0]] + level else tried[0]), merits


def selection_reason(pooling: Pooling, tried: list[Pooling], merits: dict[Pooling, float]) -> str:
    """Return the reason for the choice, in words."""
    best = max(tried, key=lambda one: merits[one])
    if pooling != best:
        other = f"{best.mode} of layer {best.layer}, {merits[best]:.3f}"
        return (
            f"out-of-fold score {merits[pooling]:.3f}, close to the best of {len(tried)} ({other})"
        )
    return f"best of {len(tried)} by out-of-fold score, {merits[best]:.3f}" + (
        "" if best == tried[0] else f" (default: {merits[tried[0]]:.3f})"
    )
