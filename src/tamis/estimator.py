"""scikit-learn's estimator contract without importing scikit-learn, which takes longer than a verdict from a cold start.

Parameters are the arguments of `__init__`; clone, Pipeline and cross_val_score know an estimator by these methods and its tags.
Source: https://scikit-learn.org/stable/developers/develop.html (duck typing is allowed on purpose).
"""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np

from tamis.errors import ConfigError


class ClassifierContract:
    """What scikit-learn asks of a classifier besides fit, predict and predict_proba."""

    @classmethod
    def _parameters(cls) -> list[str]:
        return list(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of `__init__` as they are now; `deep` changes nothing, there are no estimators inside."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        """Set arguments of `__init__`.

        Raises:
            ConfigError: a name is not one of them.
        """
        known = self._parameters()
        unknown = [name for name in params if name not in known]
        if unknown:
            raise ConfigError(f"{type(self).__name__} has no parameter {unknown[0]!r}; its parameters are {', '.join(known)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of right labels, scikit-learn's default figure for classifiers; with imbalance ask for another `scoring`."""
        right = np.asarray(self.predict(X)) == np.asarray(y)  # type: ignore[attr-defined]
        return float(np.average(right, weights=sample_weight))

    def __repr__(self) -> str:
        """The call with every argument that is not the default."""
        defaults = inspect.signature(type(self)).parameters
        changed = [f"{k}={v!r}" for k, v in self.get_params().items() if v is not defaults[k].default and v != defaults[k].default]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """Tags as scikit-learn gives them to any classifier."""
        from sklearn.base import BaseEstimator, ClassifierMixin

        class AnyClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
            pass

        return AnyClassifier().__sklearn_tags__()
