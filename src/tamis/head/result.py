"""Result of a training: a classifier with scores of held-out rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.gpt2.model import GPT2Classifier

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingResult:
    """A trained classifier with scores of held-out rows."""

    model: GPT2Classifier
    held_out: Rows
    """Training rows with held-out scores: all for the exact head and with folds, else the
    validation rows, none if there were none."""
    held_out_logits: NDArray[np.float64]
    """(len(held_out), K)"""
    features: NDArray[np.float32] | None = None
    """(len(train), C) of length one, where the exact head was solved on them; None otherwise."""
    concatenated_logits: NDArray[np.float64] | None = None
    """(V, K) of windows of long texts joined from held-out negatives (decision/window_penalty.py),
    by a model that saw none of them; None: not asked for."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """A row a step and one an epoch with validation figures; for the exact head a row for each
    layer, pooling and penalty that was tried."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What was chosen or found on the way, for the report."""
    notes: list[str] = field(default_factory=list)
    cross_validated: bool = False
    """Whether the held-out scores come from folds: the model itself was fitted on those rows."""
    selected_settings: dict[str, Any] = field(default_factory=dict)
    """Settings that were left open and found on the way, by name."""
