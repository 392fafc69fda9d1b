"""What scikit-learn expects of a classifier and a transformer, without importing scikit-learn.

Importing scikit-learn takes longer than one prediction from a cold start, so nothing here inherits
from it (duck typing is allowed: https://scikit-learn.org/stable/developers/develop.html). It is
imported where it asks for its own types: tags and metadata routing.
"""

from __future__ import annotations

import copy
import inspect
import sys
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.inputs import Texts, as_texts
from tamis.classifier.predictor import Predictor
from tamis.classifier.targets import Labels, as_sample_weight, class_numbers
from tamis.errors import ConfigError, DataError

UNCHANGED = "$UNCHANGED$"
"""scikit-learn's word for a metadata request that stays as it is."""
_ROUTED: dict[str, dict[str, bool | None]] = {
    "fit": {"sample_weight": None, "groups": False},
    "partial_fit": {"sample_weight": None},
    "score": {"sample_weight": None},
}
"""Metadata by method, with the request at the start. Groups are not passed on unless that is
requested: they are usually meant for the splitter alone."""


class ClassifierContract:
    """A classifier that is also a transformer of texts to vectors."""

    classes_: NDArray[Any]
    predictor_: Predictor

    @classmethod
    def _parameters(cls) -> list[str]:
        return list(inspect.signature(cls).parameters)

    def predict(self, X: Texts) -> NDArray[Any]:
        """Return N labels."""
        raise NotImplementedError

    def predict_proba(self, X: Texts) -> NDArray[np.float64]:
        """Return (N, K) probabilities."""
        raise NotImplementedError

    def embed(self, X: Texts) -> NDArray[np.float32]:
        """Return (N, C) vectors."""
        raise NotImplementedError

    def predict_log_proba(self, X: Texts) -> NDArray[np.float64]:
        """Return the (N, K) natural logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):  # a probability may be 0 in float64
            return np.asarray(np.log(self.predict_proba(X)))

    def score(self, X: Texts, y: Labels, sample_weight: Any = None) -> float:
        """Return the accuracy, scikit-learn's default metric; choose another `scoring` for
        imbalanced classes.

        Raises:
            DataError: the lengths differ, there are no rows, or a label is unknown.
        """
        predicted = self.predict(X)
        truth = class_numbers(y, len(predicted), self.classes_)
        if not len(predicted):
            raise DataError("score: expected labelled texts, got none")
        right = predicted == self.classes_[truth]
        return float(np.average(right, weights=as_sample_weight(sample_weight, len(predicted))))

    def transform(self, X: Texts) -> Any:
        """Return `embed(X)`, (N, C), as an array or as the DataFrame of `set_output`."""
        vectors, wanted = self.embed(X), self._output_container()
        if wanted == "default":
            return vectors
        names = list(self.get_feature_names_out())
        if wanted == "pandas":
            import pandas

            return pandas.DataFrame(vectors, columns=names, index=getattr(X, "index", None))
        import polars

        return polars.DataFrame(vectors, schema=names, orient="row")

    def fit_transform(self, X: Texts, y: Any = None, **fit_params: Any) -> Any:
        """Fit, then return the (N, C) vectors of the same texts."""
        if hasattr(type(X), "__next__"):  # an iterator can be read only once
            X = as_texts(X)
        return self.fit(X, y, **fit_params).transform(X)  # type: ignore[attr-defined]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the (C,) names of the columns of `transform`: `textclassifier0` and so on.

        Args:
            input_features: not used.
        """
        self._check_fitted()
        channels = self.predictor_.model.transformer.config.n_embd
        name = type(self).__name__.lower()
        return np.array([f"{name}{channel}" for channel in range(channels)], dtype=object)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what `transform` returns.

        Args:
            transform: `default` (an array), `pandas` or `polars`; None changes nothing.

        Raises:
            ConfigError: another name.
        """
        if transform is None:
            return self
        if transform not in ("default", "pandas", "polars"):
            raise ConfigError(
                f"set_output: expected 'default', 'pandas' or 'polars', got {transform!r:.40}"
            )
        self._sklearn_output_config = {"transform": transform}
        return self

    def _output_container(self) -> str:
        own = getattr(self, "_sklearn_output_config", {}).get("transform")
        if own is not None:
            return str(own)
        sklearn = sys.modules.get("sklearn")
        return "default" if sklearn is None else str(sklearn.get_config()["transform_output"])

    def set_fit_request(self, *, sample_weight: Any = UNCHANGED, groups: Any = UNCHANGED) -> Self:
        """Choose which metadata scikit-learn's tools pass on to `fit` (metadata routing).

        Args:
            sample_weight: True, False, None (an error if it is given), or another name for it.
            groups: the same.

        Raises:
            ConfigError: `sklearn.set_config(enable_metadata_routing=True)` was not called.
        """
        return self._set_request("fit", {"sample_weight": sample_weight, "groups": groups})

    def set_partial_fit_request(self, *, sample_weight: Any = UNCHANGED) -> Self:
        """As `set_fit_request`, for `partial_fit`."""
        return self._set_request("partial_fit", {"sample_weight": sample_weight})

    def set_score_request(self, *, sample_weight: Any = UNCHANGED) -> Self:
        """As `set_fit_request`, for `score`."""
        return self._set_request("score", {"sample_weight": sample_weight})

    def get_metadata_routing(self) -> Any:
        """Return scikit-learn's MetadataRequest: which metadata each method asks for."""
        from sklearn.utils.metadata_routing import MetadataRequest

        stored = getattr(self, "_metadata_request", None)
        if stored is not None:
            return copy.deepcopy(stored)
        requests = MetadataRequest(owner=self)
        for method, params in _ROUTED.items():
            for name, alias in params.items():
                getattr(requests, method).add_request(param=name, alias=alias)
        return requests

    def _set_request(self, method: str, given: dict[str, Any]) -> Self:
        import sklearn

        if not sklearn.get_config()["enable_metadata_routing"]:
            raise ConfigError(
                f"set_{method}_request has an effect only with metadata routing; call "
                "sklearn.set_config(enable_metadata_routing=True) first"
            )
        requests = self.get_metadata_routing()
        for name, alias in given.items():
            if not (isinstance(alias, str) and alias == UNCHANGED):
                getattr(requests, method).add_request(param=name, alias=alias)
        self._metadata_request = requests
        return self

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: a classifier and transformer of one-dimensional strings."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` or `load` was successful."""
        return hasattr(self, "classes_")

    def _check_fitted(self) -> None:
        """Raise NotFittedError before `fit` or `load`."""
        if not self.__sklearn_is_fitted__():
            from tamis.errors import NotFittedError  # built from scikit-learn's own

            name = type(self).__name__
            raise NotFittedError(
                f"this {name} is not fitted yet; call fit(texts, labels) or {name}.load(folder) "
                "first"
            )
