"""The trainings: each recipe is fitted on the training rows of the split and evaluated on its test
rows. Features of the frozen trunk are cached.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.text_classifier import TextClassifier
from tamis.config import Recipe
from tamis.data.splits import DataSplit
from tamis.evaluation.metrics import figures, predictions
from tamis.evaluation.report.report import json_safe
from tamis.gpt2.feature_cache import FeatureCache
from tamis.progress import Progress, Silent
from tamis.training.callbacks import Callbacks
from tamis.training.loop import LoopCallback
from tamis.workflows.reproduce_tp2.learning_curves import CurveCallback, curve_points


class Runner:
    """Fits recipes and evaluates them; all results are plain values."""

    def __init__(
        self, split: DataSplit, sought: str, cache: FeatureCache, progress: Progress | None
    ) -> None:
        """`cache` stores the features of the frozen trunk; `sought` is the class whose recall is
        asked for.
        """
        self.split, self.sought, self.cache = split, sought, cache
        self.progress = progress or Silent()

    def reference(self, recipe: Recipe) -> dict[str, Any]:
        """Train the reference with its curves.

        Returns `steps`, `points` (`learning_curves`), `train` and `test` (figures),
        `class_weights`, `head_change`, and of the test rows: `predicted` (rows per class), `found`
        and `asked` (rows of `sought`: predicted as such, and all), `scores` (quartiles of
        P(sought) of the rows of `sought` and of the others).
        """
        callback = CurveCallback()
        classifier = self.fit(recipe, callback)
        train, _ = self._judged(classifier, "train")
        test, probabilities = self._judged(classifier, "test")
        texts, labels = self.split.texts("test"), self.split.labels("test")
        points = curve_points(callback, classifier, texts, labels, self.sought, self.cache)
        # With validation rows the model of the best epoch is kept, which need not be the last one.
        kept = {"accuracy": test["accuracy"], "recall": test["recall"]}
        facts = classifier.training_.facts
        if points[-1]["test"] is None or facts["best_epoch"] != facts["epochs"]:
            points[-1]["test"] = kept
        names = [str(label) for label in classifier.classes_]
        predicted = predictions(
            probabilities,
            names,
            positive=classifier.positive_,
            threshold=classifier.rule_.threshold,
        )
        place = names.index(self.sought)
        asked = np.array([label == self.sought for label in labels])
        result: dict[str, Any] = json_safe(
            {
                "steps": callback.steps,
                "points": points,
                "train": train,
                "test": test,
                "class_weights": dict(zip(names, callback.class_weights, strict=True)),
                "head_change": callback.head_change,
                "predicted": {
                    name: int((predicted == number).sum()) for number, name in enumerate(names)
                },
                "asked": int(asked.sum()),
                "found": int((predicted[asked] == place).sum()),
                "scores": {
                    "sought": _quartiles(probabilities[asked, place]),
                    "others": _quartiles(probabilities[~asked, place]),
                },
            }
        )
        return result

    def fit(self, recipe: Recipe, *callbacks: LoopCallback) -> TextClassifier:
        """Fit a classifier on all training rows. With `max_fpr`, validation rows are held out."""
        return TextClassifier.from_recipe(recipe).fit(
            self.split.texts("train"),
            self.split.labels("train"),
            callbacks=Callbacks(progress=self.progress, cache=self.cache, loop=callbacks),
        )

    def test_figures(self, recipe: Recipe) -> dict[str, Any]:
        """Fit a classifier and return its figures on the test rows."""
        found, _ = self._judged(self.fit(recipe), "test")
        return found

    def _judged(
        self, classifier: TextClassifier, part: Literal["train", "test"]
    ) -> tuple[dict[str, Any], NDArray[np.float64]]:
        """The figures of a part, and its (N, K) probabilities. With more than two classes, recall
        is that of `sought`, as in the rest of the experiment.
        """
        cache = self.cache if classifier.recipe_.tune == "head" else None
        probabilities = classifier.predictor_.probabilities(self.split.texts(part), cache=cache)
        found = figures(
            self.split.labels(part),
            probabilities,
            [str(label) for label in classifier.classes_],
            positive=classifier.positive_,
            threshold=classifier.rule_.threshold,
        )
        return of_sought(found, classifier.positive_, self.sought), probabilities


def of_sought(found: dict[str, Any], positive: str | None, sought: str) -> dict[str, Any]:
    """Return the figures with recall, F1 and average precision of `sought`, also where there is no
    positive class.
    """
    if positive is not None:
        return found
    own = next(row for row in found["per_class"] if row["label"] == sought)
    intervals = {name: pair for name, pair in found["ci95"].items() if name == "accuracy"}
    return {
        **found,
        **{name: own[name] for name in ("recall", "precision", "f1", "average_precision")},
        "ci95": intervals,
    }


def _quartiles(values: NDArray[np.float64]) -> list[float] | None:
    return np.percentile(values, [25, 50, 75]).tolist() if len(values) else None
