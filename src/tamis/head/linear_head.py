"""The exact head: multinomial logistic regression on normalized features, folded into GPT-2's
weights.

Shapes: N rows, C channels, K classes. Features are the output of the final LayerNorm without its
affine part, divided by sqrt(C), so they have length one. The solver is in logistic_regression.py;
the penalty is chosen by out-of-fold average precision or macro F1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.data.folds import folds_from_ids, stratified_group_folds
from tamis.evaluation.model_selection import BY_PRECISION, Selection, validate
from tamis.gpt2.model import GPT2Classifier
from tamis.head.class_weights import undersampled
from tamis.head.logistic_regression import (
    TOLERANCE,
    LinearHead,
    Matrix,
    Problem,
    Solution,
    solve_again,
)
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
    """A head on features of length one."""

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
    """Return the (N, C) features of length one for (N, C) last tokens before ln_f: LayerNorm
    without its affine part, divided by sqrt(C).
    """
    rows = np.asarray(last, dtype=np.float64)
    centred = rows - rows.mean(1, keepdims=True)
    return np.asarray(centred / np.sqrt(rows.shape[1] * (rows.var(1, keepdims=True) + epsilon)))


def span_of(features: Matrix) -> Matrix:
    """(N, C) with N < C -> (C, N): orthonormal columns whose sums the rows are."""
    return np.asarray(np.linalg.qr(features.T)[0])


def in_their_span(features: Matrix) -> Matrix:
    """(N, C) -> (N, min(N, C)): coordinates of the rows in their own span, if that is smaller.

    A head of some of the rows has the same logits in them, and the decomposition is done once.
    """
    return features if len(features) >= features.shape[1] else features @ span_of(features)


def solve(
    features: Matrix,
    targets: NDArray[np.int64],
    row_weights: Matrix,
    inverse_penalty: float,
    *,
    start: LinearHead | None = None,
    tolerance: float = EXACT,
    reduced: bool = False,
) -> Solution:
    """Fit a head. The optimum does not depend on `start`, which only saves time.

    The weights of the optimum are sums of rows, so with fewer rows than channels the problem is
    solved in the N coordinates of the rows' span; `metric` of the solution is about those.

    Args:
        features: (N, C) of length one.
        targets: (N,) in [0, K); every class must occur.
        row_weights: (N,) weight of each row; weight 2 counts as two rows.
        inverse_penalty: scikit-learn's C.
        start: a head fitted on nearly the same rows.
        tolerance: see logistic_regression.py.
        reduced: the features are coordinates in such a span already (`in_their_span`).
    """
    classes = int(targets.max()) + 1
    begin = LinearHead.zero(classes, features.shape[1]) if start is None else start
    span = None
    if len(features) < features.shape[1] and not reduced:
        span = span_of(features)
        features, begin = features @ span, LinearHead(begin.weight @ span, begin.bias)
    problem = Problem(features, np.eye(classes)[targets], row_weights, inverse_penalty)
    found = solve_again(problem, start=begin, tolerance=tolerance)
    if span is None:
        return found
    return replace(found, head=LinearHead(found.head.weight @ span.T, found.head.bias))


@dataclass(frozen=True)
class HeadRows:
    """N rows that a head is fitted on."""

    features: Matrix
    """(N, C) of length one"""
    targets: NDArray[np.int64]
    """(N,) in [0, K); every class occurs"""
    class_weights: Matrix
    """(K,) weight of a row by its class"""
    groups: NDArray[np.int64]
    """(N,) rows of one group (repeats of a message, its augmented copies) stay in one fold"""
    row_weights: Matrix | None = None
    """(N,) further weight of each row; None: 1"""
    scored: int | None = None
    """Only this many rows, the first, choose the penalty and get out-of-fold scores; the others are
    copies of them. None: all."""
    fold_ids: NDArray[np.int64] | None = None
    """(N,) fold in which each row is scored, a copy in its row's; with a single fold nothing is
    chosen out of fold. None: drawn by the seed."""


@dataclass(frozen=True)
class HeadSearch:
    """How the penalty of a head is chosen."""

    penalties: Sequence[float] = CANDIDATES
    """Inverse penalties to try, rising; a single one is taken without scoring anything."""
    selection: Selection = BY_PRECISION
    """What the choice goes by."""
    undersample: bool = False
    """Fit as many rows of every class as the rarest has, drawn by `seed`; all rows are scored."""
    seed: int = 42
    """Of the folds and of undersampling."""

    def fitted(self, rows: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of `rows` that are fitted; `targets` (N,) of all rows."""
        return rows[undersampled(targets[rows], self.seed)] if self.undersample else rows


SEARCH = HeadSearch()


def fit_head(
    rows: HeadRows,
    search: HeadSearch = SEARCH,
    *,
    logits_of: Callable[[LinearHead, NDArray[np.int64]], Matrix] | None = None,
    progress: Progress | None = None,
) -> ExactHead:
    """Choose the penalty by out-of-fold scores, then fit the head on all rows.

    Args:
        rows: N rows with their features.
        search: penalties to try, and how.
        logits_of: returns the (M, K) logits of some scored rows by number, if they are not the
            head's logits on the features.
        progress: counts the fits.
    """
    features, targets = rows.features, rows.targets
    scored = len(targets) if rows.scored is None else rows.scored
    score = logits_of or (lambda head, places: head.logits(features[places]))
    weights = rows.class_weights[targets] * (1.0 if rows.row_weights is None else rows.row_weights)
    folds = _folds(rows, search)
    out_of_fold = (
        {penalty: np.empty((scored, len(rows.class_weights))) for penalty in search.penalties}
        if folds
        else {}
    )
    with (progress or Silent()).task(
        "head", total=len(search.penalties) * len(folds) + 1, unit="fits"
    ) as task:
        for inside, outside in folds:
            asked = outside[outside < scored]
            head: LinearHead | None = None
            for penalty in search.penalties:
                head = solve(
                    features[inside],
                    targets[inside],
                    weights[inside],
                    penalty,
                    start=head,
                    tolerance=TOLERANCE,
                ).head
                out_of_fold[penalty][asked] = score(head, asked)
                task.advance()
        truth = torch.from_numpy(targets[:scored])
        tried = {
            penalty: validate(torch.from_numpy(logits), truth, search.selection).merit
            for penalty, logits in out_of_fold.items()
        }
        fallback = DEFAULT if len(search.penalties) > 1 else search.penalties[0]
        best = max(tried, key=lambda c: (tried[c], -c)) if tried else fallback
        kept = search.fitted(np.arange(len(targets)), targets)
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


def _folds(rows: HeadRows, search: HeadSearch) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(fitted, scored) rows of each fold; none where there is nothing to choose."""
    if len(search.penalties) < 2:
        return []
    folds = (
        stratified_group_folds(rows.targets, rows.groups, len(rows.class_weights), search.seed)
        if rows.fold_ids is None
        else folds_from_ids(rows.fold_ids)
    )
    return [(search.fitted(inside, rows.targets), outside) for inside, outside in folds]


def fold_into(model: GPT2Classifier, weight: Matrix, bias: Matrix) -> None:
    """Write a head on features of length one into `ln_f` and `score`. This is exact, although
    `score` has no bias.

    The normalized features n sum to zero, so one of them is the negative sum of the others and its
    channel can hold a constant. With ln_f weight 0 and bias 1 there, score holds the bias in that
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
