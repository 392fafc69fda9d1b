"""Which layer a solved head reads, and how: all candidates from one pass of the frozen trunk,
chosen out of fold.

A lower layer means fewer blocks in the saved model. How tokens become one vector is one of
`POSITIONS`, each of which a GPT-2 folder can hold: the last token alone, the mean over all of them
(the pooling block), or the two added (the same block with a smaller factor). Shapes: W windows, C
channels, S layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.data.folds import stratified_group_folds
from tamis.evaluation.model_selection import validate
from tamis.gpt2.feature_cache import FeatureCache, Frozen
from tamis.gpt2.features import compute_cached
from tamis.gpt2.freezing import Pooling
from tamis.gpt2.model import GPT2, MeanPoolingBlock
from tamis.gpt2.packing import pack
from tamis.head.class_weights import undersampled
from tamis.head.linear_head import DEFAULT, length_one, solve
from tamis.progress import Progress, Silent
from tamis.text.encoding import EncodedTexts

POOLING_MODES = ("mean", "mean_and_last", "last_token")
MOST_LAYERS = 6
"""Layers tried; of a deeper trunk evenly spaced ones, the last among them."""
MOST_ROWS = 4000
"""Rows that choose, drawn by seed: enough for a difference that matters, and seconds whatever the
number of classes."""
FOLDS = 3
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Layers:
    """The last token and the mean of some layers, from one pass."""

    layers: tuple[int, ...]
    states: Frozen
    """(W, 2 * S * C): of each layer the last token's state, then the mean over tokens of the final
    LayerNorm's output"""
    channels: int

    def last(self, pooling: Pooling) -> tuple[Frozen, float]:
        """(W, C) what leaves the blocks at the last token, before the last LayerNorm, and the
        pooling block's factor (0: no block).
        """
        start = 2 * self.channels * self.layers.index(pooling.layer)
        own = self.states[:, start : start + self.channels]
        mean = self.states[:, start + self.channels : start + 2 * self.channels]
        if pooling.mode == "last_token":
            return np.ascontiguousarray(own), 0.0
        # A power of two is exact in every type. The two are added at about one length.
        lengths = np.linalg.norm(own, axis=1).mean() / max(
            1e-6, float(np.linalg.norm(mean, axis=1).mean())
        )
        factor = (
            MeanPoolingBlock.FACTOR
            if pooling.mode == "mean"
            else 2.0 ** round(math.log2(max(lengths, 2.0**-14)))
        )
        return own + np.float32(factor) * mean, factor


def candidates(depth: int, *, layer: int | None, mode: str) -> list[Pooling]:
    """What is tried, the usual reading first: all blocks, the mean.

    Args:
        depth: blocks of the trunk.
        layer: the only one, where it is given.
        mode: the only one, where it is not `auto`.
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
    """Last token and mean of the given layers for every window."""

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
    states = compute_cached(
        model,
        messages,
        f"layers:{layers}",
        len(messages.windows),
        rows,
        cache,
        progress,
        width=width,
    )
    return Layers(layers, states, model.config.n_embd)


def select_layer(
    layers: Layers,
    tried: list[Pooling],
    messages: EncodedTexts,
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    rows: NDArray[np.int64],
    class_weights: NDArray[np.float64],
    *,
    epsilon: float,
    seed: int,
    positive: int | None = None,
    undersample: bool = False,
    progress: Progress | None = None,
) -> tuple[Pooling, dict[Pooling, float]]:
    """The reading with the best out-of-fold merit on `rows`, and every merit; the first of `tried`
    unless another is clearly better.

    Clearly: by more average precision than half a row of the rarest class (of the positive one of
    two, where one is named: `positive`, its number) is worth, as in the loop's choice of an epoch.
    `undersample` as in `fit_head`.
    """
    if len(tried) == 1:
        return tried[0], {}
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ROWS])
    classes = len(class_weights)
    own = targets[rows]
    folds = stratified_group_folds(own, groups[rows], classes, seed, most=FOLDS)
    if not folds:
        return tried[0], {}
    merits: dict[Pooling, float] = {}
    with (progress or Silent()).task(
        "layers", total=len(tried) * len(folds), unit="solutions"
    ) as task:
        for reading in tried:
            last, _ = layers.last(reading)
            normed = torch.from_numpy(length_one(last[messages.windows_of(rows)], epsilon))
            features = messages.mean_over_windows(normed, rows).numpy()
            logits = np.empty((len(rows), classes))
            for within, outside in folds:
                inside = within[undersampled(own[within], seed)] if undersample else within
                weights = class_weights[own[inside]]
                head = solve(
                    features[inside], own[inside], weights, DEFAULT, tolerance=TOLERANCE
                ).head
                logits[outside] = head.logits(features[outside])
                task.advance()
            merits[reading] = validate(
                torch.from_numpy(logits), torch.from_numpy(own), positive
            ).merit
    counts = np.bincount(own, minlength=classes)
    level = 0.5 / (counts.min() if positive is None else counts[positive])
    best = max(tried, key=lambda reading: merits[reading])
    return (best if merits[best] > merits[tried[0]] + level else tried[0]), merits


def selection_reason(pooling: Pooling, tried: list[Pooling], merits: dict[Pooling, float]) -> str:
    """Why a reading was chosen, in words."""
    best = max(tried, key=lambda one: merits[one])
    if pooling != best:
        other = f"{best.mode} of layer {best.layer}, {merits[best]:.3f}"
        return f"out of fold {merits[pooling]:.3f}, level with the best of {len(tried)} ({other})"
    return f"the best of {len(tried)} out of fold, {merits[best]:.3f}" + (
        "" if best == tried[0] else f" against {merits[tried[0]]:.3f}"
    )
