"""The exact head: multinomial logistic regression on the normalised features, solved to its optimum
and folded into GPT-2's files.

Shapes: N rows, C channels, K classes. The features are the final LayerNorm without its affine part,
divided by sqrt(C): length one. The solver is logistic_regression.py's; regularisation is chosen by
out-of-fold average precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.data.folds import folds_from_ids, stratified_group_folds
from tamis.evaluation.model_selection import validate
from tamis.gpt2.model import GPT2Classifier
from tamis.head.class_weights import undersampled
from tamis.head.logistic_regression import TOLERANCE, LinearHead, Matrix, Solution, solve_again
from tamis.progress import Progress, Silent

CANDIDATES = (1.0, 10.0, 100.0, 1e3, 1e4)
"""Inverse strengths of the L2 penalty that are tried, on features of length one."""
DEFAULT = 100.0
"""Taken where the rows are too few to try (no class may have fewer than two groups)."""
START = 10.0
"""Of a head that many rows will train further: it need not be the best one, and a cautious one
leaves more to learn."""
EXACT = 1e-8
"""Largest slope left in the head that is kept, in logistic_regression.py's coordinates: its logits
are right to about 1e-4 at every penalty tried."""


@dataclass(frozen=True)
class ExactHead:
    """A solved head, on features of length one."""

    weight: Matrix
    """(K, C)"""
    bias: Matrix
    """(K,)"""
    inverse_penalty: float
    """scikit-learn's C."""
    out_of_fold: Matrix | None
    """(N, K) logits of every row from heads that did not see its group; None where the rows are too
    few."""
    tried: dict[float, float]
    """Merit of each inverse penalty, out of fold."""
    converged: bool


def length_one(last: NDArray[np.float32], epsilon: float) -> Matrix:
    """(N, C) last tokens before ln_f -> (N, C) features of length one: LayerNorm without its affine
    part, over sqrt(C).
    """
    rows = np.asarray(last, dtype=np.float64)
    centred = rows - rows.mean(1, keepdims=True)
    return np.asarray(centred / np.sqrt(rows.shape[1] * (rows.var(1, keepdims=True) + epsilon)))


def solve(
    features: Matrix,
    targets: NDArray[np.int64],
    row_weights: Matrix,
    inverse_penalty: float,
    *,
    start: LinearHead | None = None,
    tolerance: float = EXACT,
) -> Solution:
    """The head of these rows. The optimum does not depend on `start`, which saves time where it is
    near.

    Args:
        features: (N, C) of length one.
        targets: (N,) in [0, K); every class must occur.
        row_weights: (N,) weight of each row; a row of weight 2 counts as two.
        inverse_penalty: scikit-learn's C.
        start: a head of nearly these rows.
        tolerance: largest slope left, see logistic_regression.py.
    """
    classes = int(targets.max()) + 1
    begin = LinearHead.zero(classes, features.shape[1]) if start is None else start
    return solve_again(
        features,
        np.eye(classes)[targets],
        row_weights,
        inverse_penalty,
        start=begin,
        tolerance=tolerance,
    )


def fit_head(
    features: Matrix,
    targets: NDArray[np.int64],
    class_weights: Matrix,
    *,
    groups: NDArray[np.int64],
    row_weights: Matrix | None = None,
    scored_rows: int | None = None,
    fold_ids: NDArray[np.int64] | None = None,
    positive: int | None = None,
    undersample: bool = False,
    logits_of: Callable[[LinearHead, NDArray[np.int64]], Matrix] | None = None,
    candidates: Sequence[float] = CANDIDATES,
    seed: int = 42,
    progress: Progress | None = None,
) -> ExactHead:
    """Choose the penalty out of fold, then solve on all rows. With a single candidate nothing is
    chosen, and nothing scored out of fold.

    Args:
        features: (N, C) of length one.
        targets: (N,) in [0, K); every class occurs.
        class_weights: (K,) weight of a row by its class.
        groups: (N,) rows of one group (repeats of a message, its attacked copies) stay in one fold.
        row_weights: (N,) further weight of each row; 1 by default.
        scored_rows: only this many rows, the first, choose the penalty and have out-of-fold scores;
            the others are copies of them.
        fold_ids: (N,) the fold in which each row is judged, a copy in its row's; drawn by `seed`
            where it is not given, and with a single one nothing is chosen out of fold.
        positive: class number of the positive class of two, for the choice; the rarer one where it
            is not given.
        undersample: fit as many rows of every class as the rarest has, drawn by `seed`; all rows
            are judged.
        logits_of: (M, K) logits of some judged rows by number, where they are not simply the head's
            on `features`.
        candidates: inverse penalties to try, rising.
        seed: of the folds.
        progress: counts the solutions.
    """
    scored_rows = len(targets) if scored_rows is None else scored_rows
    scored = logits_of or (lambda head, rows: head.logits(features[rows]))
    classes = len(class_weights)
    weights = class_weights[targets] * (1.0 if row_weights is None else row_weights)

    def fitted(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows[undersampled(targets[rows], seed)] if undersample else rows

    divided = (
        stratified_group_folds(targets, groups, classes, seed)
        if fold_ids is None
        else folds_from_ids(fold_ids)
    )
    folds = (
        [(fitted(inside), outside) for inside, outside in divided] if len(candidates) > 1 else []
    )
    out_of_fold = (
        {candidate: np.empty((scored_rows, classes)) for candidate in candidates} if folds else {}
    )
    with (progress or Silent()).task(
        "head", total=len(candidates) * len(folds) + 1, unit="solutions"
    ) as task:
        for inside, outside in folds:
            asked = outside[outside < scored_rows]
            head: LinearHead | None = None
            for candidate in candidates:
                head = solve(
                    features[inside],
                    targets[inside],
                    weights[inside],
                    candidate,
                    start=head,
                    tolerance=TOLERANCE,
                ).head
                out_of_fold[candidate][asked] = scored(head, asked)
                task.advance()
        truth = torch.from_numpy(targets[:scored_rows])
        tried = {
            candidate: validate(torch.from_numpy(logits), truth, positive).merit
            for candidate, logits in out_of_fold.items()
        }
        best = (
            max(tried, key=lambda c: (tried[c], -c))
            if tried
            else DEFAULT
            if len(candidates) > 1
            else candidates[0]
        )
        kept = fitted(np.arange(len(targets)))
        solution = solve(features[kept], targets[kept], weights[kept], best)
        task.advance()
    return ExactHead(
        solution.head.weight,
        solution.head.bias,
        best,
        out_of_fold.get(best),
        tried,
        solution.converged,
    )


def fold_into(model: GPT2Classifier, weight: Matrix, bias: Matrix) -> None:
    """Write a head on features of length one into `ln_f` and `score`, exactly, although `score` has
    no bias.

    The normalised features n sum to zero, so one of them is the negative sum of the others: its
    place can carry a constant. With ln_f weight 0 and bias 1 there, score holds the bias in that
    column and w_i - w_j in the others, and score @ ln_f(x) = W n + b for every x.
    """
    width = weight.shape[1]
    scaled = weight / np.sqrt(width)
    place = int(np.abs(scaled).max(0).argmin())
    columns = scaled - scaled[:, [place]]
    columns[:, place] = bias
    ln_f = model.transformer.ln_f
    with torch.no_grad():
        ln_f.weight.fill_(1.0)
        ln_f.bias.zero_()
        ln_f.weight[place] = 0.0
        ln_f.bias[place] = 1.0
        model.score.weight.copy_(torch.from_numpy(columns))
