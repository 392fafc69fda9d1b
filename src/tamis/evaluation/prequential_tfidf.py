"""TF-IDF with logistic regression as baseline of a prequential evaluation; it gets the same
feedback as the model.

The features are those of baselines.py (word n-grams 1-2, character n-grams 2-5). N-grams are
hashed, so that no vocabulary is needed in advance. Document frequencies are those of the messages
seen so far. Each step refits the regression, starting from the previous weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BUCKETS = 2**30
"""Number of hash buckets: so many that collisions are rare. Only used buckets take memory."""
PENALTY = 30.0
"""C of scikit-learn's LogisticRegression with balanced classes, as in baselines.py."""


class HashedTfidf:
    """The baseline filter for N messages, with optional labelled messages before them."""

    def __init__(
        self,
        texts: Sequence[str],
        is_positive: NDArray[np.bool_],
        *,
        before: Sequence[str] = (),
        before_is_positive: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count the n-grams of all texts once. Labels are only used when they are known."""
        from sklearn.feature_extraction.text import HashingVectorizer

        known = (
            np.zeros(0, dtype=bool)
            if before_is_positive is None
            else np.asarray(before_is_positive, dtype=bool)
        )
        self._first = len(before)
        self._truth = np.concatenate([known, np.asarray(is_positive, dtype=bool)])
        shared: dict[str, Any] = {"n_features": BUCKETS, "alternate_sign": False, "norm": None}
        words = HashingVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", **shared)
        characters = HashingVectorizer(
            analyzer="char_wb", ngram_range=(2, 5), lowercase=False, **shared
        )
        self._blocks = [
            _compact(counts.transform([*before, *texts])) for counts in (words, characters)
        ]
        self._weights: Floats = np.zeros(sum(block.shape[1] for block in self._blocks))
        self._bias = 0.0
        self._seen = self._first
        self._fitted = False
        self._share = (0.0, 0)
        if self._first:
            self.learn(np.empty(0, dtype=np.int64))

    def learn(self, known: NDArray[np.int64]) -> None:
        """Fit on the known labels and the labelled messages from the start."""
        rows = np.concatenate([np.arange(self._first), self._first + known])
        truth = self._truth[rows]
        self._share = (float(truth.sum()), len(truth))
        self._seen = max(self._seen, self._first, int(rows.max()) + 1 if len(rows) else 0)
        if truth.all() or not truth.any():
            return
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

        matrix = self.features(rows)
        used = np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]))
        regression = LogisticRegression(
            C=PENALTY, class_weight="balanced", max_iter=200, warm_start=True
        )
        regression.coef_, regression.intercept_ = (
            self._weights[None, used].copy(),
            np.array([self._bias]),
        )
        regression.classes_ = np.array([False, True])
        with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # close enough: the next step continues from here
            regression.fit(matrix[:, used], truth)
        self._weights = np.zeros_like(self._weights)
        self._weights[used], self._bias, self._fitted = (
            regression.coef_[0],
            float(regression.intercept_[0]),
            True,
        )

    def scores(self, rows: NDArray[np.int64]) -> Floats:
        """Return P(positive). Before both classes are known, this is the share of positives, with
        half a positive in two messages added.
        """
        if not self._fitted:
            return np.full(len(rows), (self._share[0] + 0.5) / (self._share[1] + 2))
        matrix = self.features(self._first + rows)
        scores: Floats = 1 / (1 + np.exp(-np.asarray(matrix @ self._weights).ravel() - self._bias))
        return scores

    def features(self, rows: NDArray[np.int64]) -> Any:
        """(rows, n-grams) sublinear counts times inverse document frequency; each block is
        normalized to length one.
        """
        from scipy.sparse import hstack
        from sklearn.preprocessing import normalize

        parts = []
        for place, block in enumerate(self._blocks):
            seen = block[: self._seen]
            frequency = np.bincount(seen.indices, minlength=block.shape[1])
            inverse = np.log((1 + self._seen) / (1 + frequency)) + 1
            if place == 1:
                inverse[frequency < 2] = (
                    # as in baselines.py: character n-grams need two messages
                    0.0
                )
            part = block[rows]
            part.data = (1 + np.log(part.data)) * inverse[part.indices]
            parts.append(normalize(part))
        return hstack(parts, format="csr")


def _compact(counts: Any) -> Any:
    """Remove the columns that never occur."""
    columns, places = np.unique(counts.indices, return_inverse=True)
    from scipy.sparse import csr_matrix

    return csr_matrix((counts.data, places, counts.indptr), shape=(counts.shape[0], len(columns)))
