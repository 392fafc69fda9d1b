"""The exact head: multinomial logistic regression on the normalised features, solved to its optimum and folded into GPT-2's files.

Shapes: N rows, C channels, K classes. The features are the final LayerNorm without its affine part, divided by sqrt(C): length one.
The solver is scikit-learn's L-BFGS; regularisation is chosen by out-of-fold average precision.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.gpt2.model import GPT2Classifier
from tamis.progress import Progress, Silent
from tamis.tuning.validation import validate

Matrix = NDArray[np.float64]

CANDIDATES = (1.0, 10.0, 100.0, 1e3, 1e4)
"""Inverse strengths of the L2 penalty that are tried, on features of length one."""
DEFAULT = 100.0
"""Taken where the rows are too few to try (no class may have fewer than two groups)."""
FOLDS = 5


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
    """(N, K) logits of every row from heads that did not see its group; None where the rows are too few."""
    tried: dict[float, float]
    """Merit of each inverse penalty, out of fold."""
    converged: bool


def length_one(last: NDArray[np.float32], epsilon: float) -> Matrix:
    """(N, C) last tokens before ln_f -> (N, C) features of length one: LayerNorm without its affine part, over sqrt(C)."""
    rows = np.asarray(last, dtype=np.float64)
    centred = rows - rows.mean(1, keepdims=True)
    return np.asarray(centred / np.sqrt(rows.shape[1] * (rows.var(1, keepdims=True) + epsilon)))


def solve(features: Matrix, targets: NDArray[np.int64], class_weights: Matrix, inverse_penalty: float) -> tuple[Matrix, Matrix, bool]:
    """Weight (K, C), bias (K,) and whether the optimum was reached. Every class must occur."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    weights = {k: float(w) for k, w in enumerate(class_weights)}
    model = LogisticRegression(C=inverse_penalty, class_weight=weights, tol=1e-6, max_iter=3000)
    # The solver's vectors are short: a second BLAS thread never pays, and on a busy machine its waiting costs several times the work.
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features, targets)
    weight, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(weight) == 1:  # two classes: one vector w, which is (-w/2, w/2) in the softmax form
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias, not any(issubclass(w.category, ConvergenceWarning) for w in caught)


def fit_head(
    features: Matrix,
    targets: NDArray[np.int64],
    class_weights: Matrix,
    *,
    groups: NDArray[np.int64],
    candidates: Sequence[float] = CANDIDATES,
    seed: int = 42,
    progress: Progress | None = None,
) -> ExactHead:
    """Choose the penalty out of fold, then solve on all rows.

    Args:
        features: (N, C) of length one.
        targets: (N,) in [0, K); every class occurs.
        class_weights: (K,) weight of a row by its class.
        groups: (N,) rows of one group (repeats of a message) stay in one fold.
        candidates: inverse penalties to try.
        seed: of the folds.
        progress: counts the solutions.
    """
    folds = _folds(targets, groups, len(class_weights), seed)
    tried: dict[float, float] = {}
    out_of_fold: dict[float, Matrix] = {}
    with (progress or Silent()).task("head", total=len(candidates) * len(folds) + 1, unit="solutions") as task:
        for candidate in candidates if folds else ():
            logits = np.empty((len(targets), len(class_weights)))
            for inside, outside in folds:
                weight, bias, _ = solve(features[inside], targets[inside], class_weights, candidate)
                logits[outside] = features[outside] @ weight.T + bias
                task.advance()
            out_of_fold[candidate] = logits
            tried[candidate] = validate(torch.from_numpy(logits), torch.from_numpy(targets)).merit
        best = max(tried, key=lambda c: (tried[c], -c)) if tried else DEFAULT
        weight, bias, converged = solve(features, targets, class_weights, best)
        task.advance()
    return ExactHead(weight, bias, best, out_of_fold.get(best), tried, converged)


def _folds(
    targets: NDArray[np.int64], groups: NDArray[np.int64], classes: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Stratified folds that keep groups together and every class in every training part; none where that cannot be."""
    from sklearn.model_selection import StratifiedGroupKFold

    smallest = min(len(np.unique(groups[targets == k])) for k in range(classes))
    if smallest < 2:
        return []
    splitter = StratifiedGroupKFold(n_splits=min(FOLDS, smallest), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "least populated class": checked just below, on what matters
        folds = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(targets, targets, groups)]
    complete = all(len(np.unique(targets[inside])) == classes and len(outside) for inside, outside in folds)
    return folds if complete else []


def fold_into(model: GPT2Classifier, weight: Matrix, bias: Matrix) -> None:
    """Write a head on features of length one into `ln_f` and `score`, exactly, although `score` has no bias.

    The normalised features n sum to zero, so one of them is the negative sum of the others: its place can carry a constant.
    With ln_f weight 0 and bias 1 there, score holds the bias in that column and w_i - w_j in the others, and
    score @ ln_f(x) = W n + b for every x.
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
