"""Multinomial logistic regression with scipy's L-BFGS, in coordinates in which the curvature at the
start is the identity.

Shapes: N rows, C channels, K classes; features have length one. Every row has a weight, targets may
be probabilities, and the penalty may pull towards a given head instead of zero. In these
coordinates the solver needs tens of evaluations instead of hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

TOLERANCE = 1e-6
"""Largest slope at the optimum, in coordinates of unit curvature: logits are then right to about
1e-5."""
ROUNDS = 50
STEPS = 12
"""Steps before the curvature is taken anew (two classes); more where it leaves out what ties the
classes."""
STEPS_OF_MANY = 100
OWN_UP_TO = 16
"""Classes of which each has coordinates of its own; more share theirs, which cost less a step than
the better ones save."""


@dataclass(frozen=True)
class LinearHead:
    """A head on features of length one."""

    weight: Matrix
    """(K, C)"""
    bias: Matrix
    """(K,)"""

    def logits(self, features: NDArray[Any]) -> Matrix:
        """Return the (N, K) logits of (N, C) features."""
        return np.asarray(features @ self.weight.T + self.bias, dtype=np.float64)

    def scaled(self, factor: float) -> LinearHead:
        """Return the head with all logits multiplied by a factor."""
        return LinearHead(self.weight * factor, self.bias * factor)

    @classmethod
    def zero(cls, classes: int, channels: int) -> LinearHead:
        """Return a head with zero weights."""
        return cls(np.zeros((classes, channels)), np.zeros(classes))


@dataclass(frozen=True)
class Solution:
    """A fitted head, and the coordinates of its last iteration, which can be used again for nearly
    the same rows.
    """

    head: LinearHead
    metric: Metric
    converged: bool
    evaluations: int


@dataclass(frozen=True)
class Metric:
    """Coordinates u of a head t = (weight, bias): t = u @ inverse, u = t @ factor, class by class.

    The curvature of each class at some head is the identity in them.
    """

    factor: Matrix
    """(K, C + 1, C + 1), lower, or one for all classes, (1, C + 1, C + 1)"""
    inverse: Matrix

    def of(self, theta: Matrix) -> Matrix:
        """(K, C + 1) a head's coordinates."""
        return _times(theta, self.factor)

    def back(self, coordinates: Matrix) -> Matrix:
        """(K, C + 1) the head at the coordinates."""
        return _times(coordinates, self.inverse)

    def slope(self, slope: Matrix) -> Matrix:
        """(K, C + 1) slope by the coordinates from the slope by the head."""
        return _times(slope, self.inverse.transpose(0, 2, 1))


def _times(rows: Matrix, matrices: Matrix) -> Matrix:
    """Each of K rows by its own matrix, or all by the one there is."""
    return rows @ matrices[0] if len(matrices) == 1 else (rows[:, None] @ matrices)[:, 0]


@dataclass(frozen=True)
class Problem:
    """N weighted rows, and the penalty."""

    features: Matrix
    """(N, C) float64 of length one"""
    targets: Matrix
    """(N, K), rows sum to one"""
    weights: Matrix
    """(N,) not negative, not all zero"""
    inverse_penalty: float
    """scikit-learn's C. The penalty is scikit-learn's too: half the squared length of the weights
    (of one vector for two classes)."""
    anchor: LinearHead | None = None
    """The head that the penalty pulls towards, its bias included; None: zero, and the bias is
    free."""


@cache
def _libraries() -> Any:
    """The loaded libraries whose threads can be limited. Finding them takes three milliseconds, as
    long as solving a small problem.
    """
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # comes with scikit-learn

    return ThreadpoolController()


def solve_again(
    problem: Problem,
    *,
    start: LinearHead,
    metric: Metric | None = None,
    tolerance: float = TOLERANCE,
) -> Solution:
    """Minimize inverse_penalty * weighted sum of cross-entropies + penalty.

    The optimum does not depend on `start` or `metric`, which only save time.

    Args:
        problem: rows and penalty.
        start: a head centred over rows and classes, as `head_of` and all solutions are.
        metric: coordinates of an earlier solution, used instead of the curvature at the start.
        tolerance: see TOLERANCE.
    """
    from scipy.optimize import minimize

    features, weights, anchor = problem.features, problem.weights, problem.anchor
    rows = np.concatenate([features, np.ones((len(features), 1))], 1)
    theta = np.concatenate([start.weight, start.bias[:, None]], 1)
    towards = (
        np.zeros_like(theta)
        if anchor is None
        else np.concatenate([anchor.weight, anchor.bias[:, None]], 1)
    )
    classes, total = theta.shape[0], float(weights.sum())
    # For two classes the weights are (-w/2, w/2), and half of |w|^2 is the whole square of that
    # matrix.
    penalty = np.full(
        theta.shape[1], (2.0 if classes == 2 else 1.0) / (problem.inverse_penalty * total)
    )
    penalty[-1] *= anchor is not None
    share = (weights / total)[:, None]
    wanted = problem.targets * share
    evaluations = 0

    def objective(theta: Matrix) -> tuple[float, Matrix, Matrix]:
        logits = rows @ theta.T
        logits -= logits.max(1, keepdims=True)
        odds = np.exp(logits)
        sums = odds.sum(1, keepdims=True)
        probabilities = odds / sums
        pulled = penalty * (theta - towards)
        loss = (
            -float((wanted * (logits - np.log(sums))).sum())
            + float(((theta - towards) * pulled).sum()) / 2
        )
        return loss, (probabilities * share - wanted).T @ rows + pulled, probabilities

    with _libraries().limit(limits=1, user_api="blas"):
        for _ in range(ROUNDS):
            fresh = metric is None
            if metric is None:
                metric = _metric(rows, objective(theta)[2], share, penalty)

            def moved(flat: Matrix, metric: Metric = metric) -> tuple[float, Matrix]:
                nonlocal evaluations
                evaluations += 1
                loss, slope, _ = objective(metric.back(flat.reshape(classes, -1)))
                return loss, metric.slope(slope).ravel()

            steps = STEPS if classes == 2 else STEPS_OF_MANY
            options: Any = {
                "maxiter": steps,
                "maxcor": steps,
                "gtol": tolerance,
                "ftol": 0.0,
                "maxls": 50,
            }
            found = minimize(
                moved, metric.of(theta).ravel(), jac=True, method="L-BFGS-B", options=options
            )
            theta = metric.back(found.x.reshape(classes, -1))
            # The same number on every class changes no probability, and the penalty is least at
            # none.
            theta -= (theta - towards).mean(0)
            converged = bool(np.abs(found.jac).max() <= tolerance)
            if converged or (
                fresh and found.status == 2
            ):  # no further step lowers it: the numbers end here
                break
            metric = None
    assert metric is not None
    return Solution(LinearHead(theta[:, :-1], theta[:, -1]), metric, converged, evaluations)


def _metric(rows: Matrix, probabilities: Matrix, share: Matrix, penalty: Matrix) -> Metric:
    """Curvature of the objective in each class's own head, or for all classes its mean, as it acts
    on centred heads: exact for two.
    """
    from scipy.linalg import cholesky, solve_triangular
    from scipy.linalg.blas import dsyrk

    classes, width = probabilities.shape[1], rows.shape[1]
    spread = probabilities * (1 - probabilities) * share
    if classes == 2 or classes > OWN_UP_TO:
        spread = spread.mean(1, keepdims=True) * (classes / (classes - 1))
    factors, inverses = (np.empty((spread.shape[1], width, width)) for _ in range(2))
    for k, root in enumerate(np.sqrt(spread).T):
        curvature = dsyrk(1.0, (rows * root[:, None]).T, lower=1)
        # Where every row is certain nothing but the penalty is curved, and the free bias not at
        # all.
        curvature[np.diag_indices_from(curvature)] += penalty + 1e-12
        factors[k] = cholesky(curvature, lower=True)
        inverses[k] = solve_triangular(factors[k], np.eye(width), lower=True)
    return Metric(factors, inverses)
