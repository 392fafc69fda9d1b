"""Settings, rows and state of the training loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray

from tamis.evaluation.model_selection import BY_PRECISION, Selection
from tamis.gpt2.features import FeatureExtractor
from tamis.head.result import Rows
from tamis.text.encoding import EncodedTexts


@dataclass(frozen=True)
class LoopSettings:
    """Resolved settings of one training; `tamis.config` has units and defaults."""

    epochs: int
    learning_rate: float
    head_learning_rate: float
    weight_decay: float
    decay_everything: bool
    warmup_ratio: float
    schedule: str
    clip_norm: float
    batch_rows: int | None
    batch_tokens: int
    micro_batch_tokens: int
    undersample: bool
    label_smoothing: float
    lm_loss_weight: float
    lm_loss_share: float
    token_dropout: float
    autocast: torch.dtype | None
    seed: int


@dataclass(frozen=True)
class LoopRows:
    """Rows of one training, as numbers into `states` and `targets`."""

    states: FeatureExtractor
    """Inputs of the trained part of the model, for all rows."""
    targets: Rows
    """(R,) class numbers"""
    class_weights: NDArray[Any]
    """(K,) weight of a row by its class"""
    fit: Rows
    """Rows to learn from."""
    validation: Rows
    """Rows that choose the epoch; may be none."""
    selection: Selection = BY_PRECISION
    """How the epoch is chosen."""
    retokenize: Callable[[int], EncodedTexts] | None = None
    """Gives the texts cut into other tokens for an epoch, numbered from 0; the validation rows are
    always scored with the usual tokens."""
    row_weights: NDArray[Any] | None = None
    """(R,) further weight of each row in the loss, with mean 1 over `fit`; None: 1."""


@dataclass
class TrainingState:
    """The state of a training except tensors; a resumed training continues from it."""

    step: int = 0
    epoch: int = 0
    place: int = 0
    """Steps done inside the current epoch."""
    best: float = -math.inf
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    """How many processes shared the steps, one after the other; none where it was always one."""
