"""Select the layer and the pooling of a linear head by out-of-fold log loss; the states of all
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
from tamis.gpt2.feature_cache import FeatureCache, Frozen
from tamis.gpt2.features import States, compute_cached
from tamis.gpt2.freezing import Pooling
from tamis.gpt2.model import GPT2
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import pooling_factor
from tamis.head.linear_head import HeadSearch, in_their_span, length_one, solve
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
MOST_DIVISIONS, FOLDS_OF_FEW = 5, 5
DIVIDED_ROWS = 1000
"""So many rows are divided into folds once; a half of them twice, and so on."""
PENALTY = 10.0
"""scikit-learn's C of the heads that are compared. Stronger than the usual one: of C = 10, 100 and
1,000, it chose best among the layers of `nano` with 8 to 128 labels per class (docs/log)."""
TEMPERATURES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
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


def choosing_rows(data: TrainingSet, seed: int) -> NDArray[np.int64]:
    """Return the training rows that choose: all of them, or `MOST_ROWS` drawn by the seed."""
    if len(data.train) <= MOST_ROWS:
        return data.train
    return np.sort(np.random.default_rng(seed).permutation(data.train)[:MOST_ROWS])


def select_layer(
    layers: Layers,
    tried: list[Pooling],
    data: TrainingSet,
    search: HeadSearch,
    *,
    epsilon: float,
    progress: Progress | None = None,
) -> tuple[Pooling, dict[Pooling, float]]:
    """Return the pooling of small out-of-fold log loss (nats) on the training rows that is closest
    to the middle of the trunk, and the losses of all.

    With few rows many layers rank all of them right, and the loss still tells them apart. It is
    that of the best of a few temperatures, since layers differ in the size of their logits, and the
    mean of several divisions into folds, since the result of one depends on chance where rows are
    few. Small are the losses that exceed the smallest by at most a standard error of the difference
    (the one-standard-error rule of Breiman et al. 1984): few rows cannot tell neighbouring layers
    apart, and middle layers carry over best (docs/log). The default's pooling mode is kept unless
    all of its losses are larger than that.

    Args:
        layers: states of the windows of `data.texts`.
        tried: poolings to try, the default first; it is taken where a class has too few rows for
            folds (then there are no losses).
        data: the rows; those of `data.train` are scored.
        search: undersampling and seed.
        epsilon: epsilon of the final LayerNorm.
        progress: counts the fits.
    """
    if len(tried) == 1:
        return tried[0], {}
    rows, messages = choosing_rows(data, search.seed), data.texts
    own = data.targets[rows]
    divisions = _divisions(own, data.groups[rows], len(data.class_weights), search.seed)
    if not divisions:
        return tried[0], {}
    weights = data.class_weights[own] * data.weights_of(rows)
    # A head of as many rows of every class is asked about classes of equal weight.
    counted = weights / np.bincount(own)[own] if search.undersample else weights
    folds = [fold for division in divisions for fold in division]
    losses: dict[Pooling, NDArray[np.float64]] = {}
    with (progress or Silent()).task("layers", total=len(tried) * len(folds), unit="fits") as task:
        for reading in tried:
            last = layers.last(reading)
            normed = torch.from_numpy(length_one(last[messages.windows_of(rows)], epsilon))
            features = in_their_span(messages.mean_over_windows(normed, rows).numpy())
            of_rows = np.zeros((len(own), len(TEMPERATURES)))
            for within, outside in folds:
                inside = search.fitted(within, own)
                head = solve(
                    features[inside],
                    own[inside],
                    weights[inside],
                    PENALTY,
                    tolerance=TOLERANCE,
                    reduced=True,
                ).head
                logits = head.logits(features[outside])
                of_rows[outside] += _log_losses(logits, own[outside]) / len(divisions)
                task.advance()
            losses[reading] = of_rows[:, (counted @ of_rows).argmin()]
    return _nearest_to_the_middle(losses, counted)


def _nearest_to_the_middle(
    losses: dict[Pooling, NDArray[np.float64]], weights: NDArray[np.float64]
) -> tuple[Pooling, dict[Pooling, float]]:
    """Return the choice of `select_layer`, and the mean losses.

    Args:
        losses: (N,) of each pooling, the default first.
        weights: (N,) weight of each row.
    """
    means = {one: float(np.average(losses[one], weights=weights)) for one in losses}
    bests = {one.mode: one for one in sorted(losses, key=lambda one: -means[one])}

    def level(one: Pooling, other: Pooling) -> bool:
        excess = (losses[one] - losses[other]) * weights / weights.mean()
        return bool(excess.mean() <= excess.std() / np.sqrt(len(excess)))

    mode, best = next(iter(losses)).mode, min(losses, key=lambda one: means[one])
    if not level(bests[mode], best):
        mode = best.mode
    small = [one for one in losses if one.mode == mode and level(one, bests[mode])]
    middle = max(one.layer for one in losses) / 2
    return min(small, key=lambda one: (abs(one.layer - middle), means[one])), means


def _divisions(
    targets: NDArray[np.int64], groups: NDArray[np.int64], classes: int, seed: int
) -> list[list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    """Divide the rows into folds several times, as often as their number makes it cheap; an empty
    list if a class has too few rows.
    """
    count = max(1, min(MOST_DIVISIONS, DIVIDED_ROWS // len(targets)))
    found = [
        stratified_group_folds(
            targets, groups, classes, seed + number, most=FOLDS if count == 1 else FOLDS_OF_FEW
        )
        for number in range(count)
    ]
    return [folds for folds in found if folds]


def _log_losses(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the (N, T) -log P(label) in nats of (N, K) logits at each of `TEMPERATURES`."""
    scaled = logits[:, None] / np.array(TEMPERATURES)[:, None]
    scaled -= scaled.max(2, keepdims=True)
    right = np.take_along_axis(scaled, targets[:, None, None], 2)[:, :, 0]
    return np.asarray(np.log(np.exp(scaled).sum(2)) - right)


def selection_reason(pooling: Pooling, tried: list[Pooling], losses: dict[Pooling, float]) -> str:
    """Return the reason for the choice, in words."""
    best = min(tried, key=lambda one: losses[one])
    found = f"out-of-fold log loss {losses[pooling]:.3f}"
    if pooling == best:
        return f"the best of {len(tried)} by {found}"
    other = f"{best.mode} of layer {best.layer}, {losses[best]:.3f}"
    return f"{found}, level with the best of {len(tried)} ({other})"
