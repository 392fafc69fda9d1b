"""Collapse told while training: a class that is never predicted, or scores that hardly differ from
text to text, with the remedy.

The reference ended there and its accuracy of 86 % did not show it. Looked at after every epoch, on
validation rows, or where there are none on a sample of the rows that are trained on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tamis.training.loop import Training

SPREAD = 0.05
"""Standard deviation of a score over texts, in log-odds, below which it is called constant: no
threshold can part such scores for long."""
FEWEST_ROWS = 5
"""Rows of a class below which nothing is concluded from its never being predicted."""
MOST_ROWS = 512
"""Training rows looked at where nothing is held out."""


def collapse(
    logits: NDArray[np.float64], targets: NDArray[np.int64], classes: list[str], *, remedy: str
) -> str | None:
    """What is wrong, in words; None where nothing is.

    Args:
        logits: (N, K) of N rows.
        targets: (N,) their class numbers.
        classes: K labels.
        remedy: what to do about it.
    """
    if len(logits) == 0:
        return None
    present = np.flatnonzero(np.bincount(targets, minlength=len(classes)) >= FEWEST_ROWS)
    spread = float((logits - logits.mean(1, keepdims=True)).std(0).max())
    if spread < SPREAD:
        return (
            f"the scores hardly differ from text to text (spread {spread:.2g} in log-odds): "
            f"nothing has been learnt yet; {remedy}"
        )
    chosen = np.bincount(logits.argmax(1), minlength=len(classes))
    never = [classes[k] for k in present.tolist() if chosen[k] == 0]
    if not never:
        return None
    shown = ", ".join(map(repr, never[:5])) + (", ..." if len(never) > 5 else "")
    rows = int(np.isin(targets, [classes.index(label) for label in never]).sum())
    return (
        f"{shown} ({rows:,} of {len(targets):,} rows looked at) is predicted for no text; {remedy}"
    )


def remedy_for(*, tune: str, pooled: bool, weighted: bool, epochs: int) -> str:
    """The settings to change, the likeliest cause first.

    Args:
        tune: what is trained.
        pooled: whether the head reads the mean over tokens.
        weighted: whether classes are weighted or undersampled.
        epochs: of the training.
    """
    ways = []
    if not pooled:
        ways.append("read the mean over tokens (text.pooling=mean, text.padding=none)")
    if tune == "head":
        ways.append(
            "solve the head instead of stepping it (train.head_solver=lbfgs) or train blocks as "
            "well (--tune blocks:2)"
        )
    if not weighted:
        ways.append("weigh the classes (--class-weight balanced)")
    if epochs < 3:
        ways.append("train longer (train.epochs)")
    return "remedy: " + ", or ".join(ways or ["raise train.learning_rate"])


class CollapseCallback(Training):
    """A training that says after an epoch that it has collapsed."""

    warned: str | None = None
    """What the last look found wrong."""
    _classes: tuple[str, ...] = ()
    _remedy: str = ""
    _say: Callable[[str], None] | None = None

    def watch(self, classes: list[str], remedy: str, say: Callable[[str], None] | None) -> None:
        """Look after every epoch, and tell `say` at once (the same thing once)."""
        self._classes, self._remedy, self._say = tuple(classes), remedy, say

    def _close_epoch(self) -> None:
        super()._close_epoch()
        rows = self.validation_rows
        if not len(rows):
            rows = self.fit_rows_of(0)
            rows = rows[:MOST_ROWS]
        logits = self.logits(rows).double().numpy()
        found = collapse(
            logits, self.targets.numpy()[rows], list(self._classes), remedy=self._remedy
        )
        if found and self._say is not None and found != self.warned:
            self._say(f"after epoch {self.at.epoch} of {self.settings.epochs}: {found}")
        self.warned = found
