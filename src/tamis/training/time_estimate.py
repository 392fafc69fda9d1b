"""Estimate how long full fine-tuning of a small backbone takes on this machine: number of
operations divided by the measured speed of matrix products.

The speed is measured only if the training would take long on a slow machine, so that small tables
get the same settings everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tamis.compute import device as devices
from tamis.config import Recipe, TrainSettings
from tamis.gpt2.backbones import SCRATCH, is_scratch, local_folder
from tamis.text.augmentation import perturbed_copies
from tamis.training.depth import expected_depth

LONG_S = 1800.0
"""Seconds of training that `tune = auto` still spends."""
REACHED = 0.4
"""Share of the speed of bare matrix products that a training reaches: `nano` on 3,890 messages, 4
passes, in 2.5 minutes at 160 GFLOP/s."""
SLOW_GFLOPS = 20.0
"""A slow machine: where even that would not take long nothing is measured."""
BYTES_A_TOKEN = 4
"""Of UTF-8, roughly, for `nano`'s vocabulary and English."""
BLOCKS = 2
"""Blocks that are trained where everything takes too long; the block that pools is one of them."""
MOST_STATES = 2 << 30
"""Bytes of states under those blocks beyond which the head alone is trained."""


LM_LOSS_SHARE = 0.5
"""Fraction of the positions whose next token is predicted in a step of the adaptation, drawn at
random."""


@dataclass(frozen=True)
class Duration:
    """Estimated time of full fine-tuning, and of the last blocks alone."""

    seconds: float
    """of the fine-tuning"""
    tokens: float
    """of all passes of all trainings (folds train anew), and of the adaptation before them"""
    share: float
    """of `seconds` that `BLOCKS` blocks would take, those under them computed once"""
    states: float
    """bytes of the states under these blocks"""
    gflops: float
    """the speed that `seconds` is meant at"""
    adaptation: float = 0.0
    """seconds of task-adaptive pretraining, whatever is tuned then"""

    def words(self) -> str:
        """Return the estimate in words."""
        minutes = (self.seconds + self.adaptation) / 60
        return (
            f"{minutes:,.0f} minutes on this machine ({self.tokens / 1e6:,.0f} million tokens, "
            f"{self.gflops:,.0f} GFLOP/s measured)"
        )


def training_time(
    recipe: Recipe, texts: Sequence[str], labels: Sequence[str], positive: str | None
) -> Duration:
    """Estimate the time of full fine-tuning of a local backbone.

    Args:
        recipe: resolved for `tune = full`, with device and threads.
        texts: R training texts.
        labels: (R,) their labels.
        positive: label of the positive class, None for more than two classes.
    """
    folder = local_folder(recipe.backbone)
    assert folder is not None
    shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    blocks, channels = shape["n_layer"] + 1, shape["n_embd"]
    trained = expected_depth(recipe, shape["n_layer"]) + 1
    train, folds = recipe.train, recipe.decision.cv_folds or 0
    copies = {label: copies_of(train, label, positive) for label in set(labels)}
    once = sum(1 + len(text.encode("utf-8", "replace")) / BYTES_A_TOKEN for text in texts)
    rows = sum(1 + copies[label] for label in labels) / len(labels)
    # Each of F folds is trained without an F-th of the rows, and all rows once more.
    tokens = once * rows * (train.epochs or 1) * max(1, folds)
    # Six operations a weight: two forward, four backward. A block has 12 C^2 weights.
    work = 6.0 * 12 * channels**2 * trained * tokens
    adapted = once * train.adapt_passes
    # The blocks without the pooling block, and the products with the vocabulary at some positions.
    reading = 12 * channels**2 * (blocks - 1) + LM_LOSS_SHARE * shape["vocab_size"] * channels
    adapting = 6.0 * reading * adapted
    gflops = SLOW_GFLOPS
    if (work + adapting) / (REACHED * gflops * 1e9) > LONG_S:
        gflops = devices.measured_gflops(recipe.compute.device, recipe.compute.threads or 1)
    share = BLOCKS / trained
    a_second = REACHED * gflops * 1e9
    return Duration(
        work / a_second,
        tokens + adapted,
        share,
        once * rows * channels * 4.0,
        gflops,
        adapting / a_second,
    )


def copies_of(train: TrainSettings, label: str, positive: str | None) -> float:
    """Return the number of augmented copies of each row with a label; `positive` as in
    `training_time`.
    """
    return perturbed_copies(train, positive not in (None, label)) + train.augment_forms


def backbone_shape(name: str) -> tuple[int, int] | None:
    """Return the number of blocks and the width of a backbone, without loading it; None if its
    files are not in a folder with a config.json of the usual form.
    """
    if is_scratch(name):
        known = SCRATCH.get(name.removeprefix("scratch:"))
        return None if known is None else (known.n_layer, known.n_embd)
    folder = local_folder(name)
    if folder is None:
        return None
    try:
        shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return int(shape["n_layer"]), int(shape["n_embd"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
