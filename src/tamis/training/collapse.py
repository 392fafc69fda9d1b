"""Warning about a collapsed training: a class is never predicted, or all scores are nearly equal.

The reference experiment collapsed, and its accuracy of 86 % did not show it. The check runs after
every epoch on the validation rows, or on a sample of the training rows. Their scores cost a third
of an epoch where the sample is all there is, so an epoch that has plainly learned its rows is not
checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.evaluation.model_selection import Scores
from tamis.training.loop import LoopCallback, Training

SPREAD = 0.05
"""Standard deviation of a score over texts, in log-odds, below which it is called constant: no
threshold can part such scores for long."""
FEWEST_ROWS = 5
"""Rows of a class below which nothing is concluded from its never being predicted."""
MOST_ROWS = 512
"""Training rows looked at where nothing is held out."""
LEARNED = 0.1
"""Mean loss of a step, in nats, that needs a margin of two in the log-odds: no constant score and
no class without predictions comes near it while all rows are right."""


def collapse(
    logits: NDArray[np.float64], targets: NDArray[np.int64], classes: Sequence[str], *, remedy: str
) -> str | None:
    """Return a sentence about what is wrong; None if nothing is.

    Args:
        logits: (N, K) logits.
        targets: (N,) class numbers.
        classes: K labels.
        remedy: end of the sentence: what to do.
    """
    if len(logits) == 0:
        return None
    present = np.flatnonzero(np.bincount(targets, minlength=len(classes)) >= FEWEST_ROWS)
    spread = float((logits - logits.mean(1, keepdims=True)).std(0).max())
    if spread < SPREAD:
        return (
            f"the scores are almost the same for all texts (standard deviation {spread:.2g} in "
            f"log-odds), so the model has not learned anything yet; {remedy}"
        )
    chosen = np.bincount(logits.argmax(1), minlength=len(classes))
    never = [classes[k] for k in present.tolist() if chosen[k] == 0]
    if not never:
        return None
    shown = ", ".join(map(repr, never[:5])) + (", ..." if len(never) > 5 else "")
    rows = int(np.isin(targets, [classes.index(label) for label in never]).sum())
    return f"{shown} ({rows:,} of {len(targets):,} checked rows) is never predicted; {remedy}"


def remedy_for(*, tune: str, pooled: bool, weighted: bool, epochs: int) -> str:
    """Return the settings to change, the likeliest cause first.

    Args:
        tune: what is trained.
        pooled: whether the head reads the mean of the tokens.
        weighted: whether classes are weighted or undersampled.
        epochs: number of epochs.
    """
    ways = []
    if not pooled:
        ways.append("use mean pooling (text.pooling=mean, text.padding=none)")
    if tune == "head":
        ways.append(
            "fit the head with L-BFGS (train.head_solver=lbfgs) or also train blocks "
            "(--tune blocks:2)"
        )
    if not weighted:
        ways.append("use class weights (--class-weight balanced)")
    if epochs < 3:
        ways.append("train longer (train.epochs)")
    return "try to " + ", or ".join(ways or ["increase train.learning_rate"])


def has_learned(training: Training) -> bool:
    """Return whether all rows were right in every step of the epoch that has just ended, with a
    loss below `LEARNED`.
    """
    epoch = training.at.epoch
    steps = [row for row in training.at.history if row["epoch"] == epoch and "accuracy" in row]
    return all(row["accuracy"] == 1.0 and row["loss"] < LEARNED for row in steps)


class CollapseCallback(LoopCallback):
    """Reports a collapsed training after an epoch."""

    def __init__(
        self, classes: Sequence[str], remedy: str, on_notice: Callable[[str], None]
    ) -> None:
        """`on_notice` is called with a sentence that ends with `remedy`; it is not called twice in
        a row with the same problem.
        """
        self._classes, self._remedy, self._on_notice = classes, remedy, on_notice
        self.warned: str | None = None
        """What the last look found wrong."""

    def on_epoch(self, training: Training, scores: Scores | None) -> None:
        """Check the validation rows, or a sample of the training rows."""
        rows, found = training.rows.validation, None
        logits = training.held_out_logits
        if not len(rows) and not has_learned(training):
            rows = training.fit_rows_of(0)[:MOST_ROWS]
            logits = training.logits(rows)
        if len(rows):
            found = collapse(
                logits.double().numpy(),
                training.targets.numpy()[rows],
                self._classes,
                remedy=self._remedy,
            )
        if found and found != self.warned:
            epochs = training.settings.epochs
            self._on_notice(f"after epoch {training.at.epoch} of {epochs}: {found}")
        self.warned = found
