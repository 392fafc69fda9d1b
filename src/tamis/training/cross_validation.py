"""Out-of-fold scores: every training row is scored by a model that was trained without it.

A validation part of a tenth of the rows is too small to measure a false positive rate of 0.1 %.
With folds, threshold, temperature and unsure band are fitted on all rows, and the final model is
trained on all rows. The models of the folds keep their last epoch, so no score was used to choose
them. Source: Kohavi 1995, "A study of cross-validation and bootstrap"; scikit-learn's
cross_val_predict.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.data.folds import Rows
from tamis.errors import CheckpointError
from tamis.files import replaced


@dataclass(frozen=True)
class FoldScores:
    """Logits of rows from models that were trained without them."""

    rows: NDArray[np.float64]
    """(rows, K)"""
    concatenated: NDArray[np.float64]
    """(V, K) of windows of long texts joined from their negatives (decision/window_penalty.py);
    none where they were not asked for"""


Fold = Callable[[Rows, Path | None, str], FoldScores]
"""Trains without some rows, its state kept in a folder, told under a name, and scores those
rows."""


def out_of_fold(
    fold: Fold, fold_ids: Rows, *, classes: int, identity: str, checkpoint: Path | None
) -> FoldScores:
    """Return the scores of R rows, each from a model trained without its fold, and of the texts
    concatenated from each fold.

    Args:
        fold: trains one of the models.
        fold_ids: (R,) fold of each row.
        classes: K.
        identity: hash of the work; saved scores with another identity are ignored.
        checkpoint: folder for the state. For a finished fold only the scores are kept.

    Raises:
        CheckpointError: saved scores are damaged.
    """
    logits, joined = np.empty((len(fold_ids), classes)), []
    count = int(fold_ids.max()) + 1
    for number in range(count):
        outside = np.flatnonzero(fold_ids == number)
        state = None if checkpoint is None else checkpoint / f"fold-{number}"
        found = (
            None
            if state is None
            else _read(state.with_suffix(".npz"), identity, len(outside), classes)
        )
        if found is None:
            found = fold(outside, state, f"training, fold {number + 1} of {count}")
            if state is not None:
                state.parent.mkdir(parents=True, exist_ok=True)
                with replaced(state.with_suffix(".npz")) as beside, beside.open("wb") as file:
                    np.savez(
                        file, identity=identity, logits=found.rows, concatenated=found.concatenated
                    )
                shutil.rmtree(state, ignore_errors=True)
        logits[outside] = found.rows
        joined.append(found.concatenated)
    return FoldScores(logits, np.concatenate(joined))


def _read(path: Path, identity: str, rows: int, classes: int) -> FoldScores | None:
    """A fold's scores, None where there are none of the same work.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as kept:
            if str(kept["identity"]) != identity or "concatenated" not in kept:
                return None
            found = FoldScores(
                np.asarray(kept["logits"], dtype=np.float64),
                np.asarray(kept["concatenated"], dtype=np.float64),
            )
            return (
                found
                if found.rows.shape == (rows, classes)
                and found.concatenated.shape[1:] == (classes,)
                else None
            )
    except Exception as error:  # a zip archive that was cut off or altered fails in many ways
        raise CheckpointError(
            f"{path} is damaged ({error}); delete it to train that fold again"
        ) from error
