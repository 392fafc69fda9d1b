"""TextClassifier: the estimator that users hold. It follows scikit-learn's contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.classifier.base import Parameters
from tamis.classifier.explain import Explanation, explain
from tamis.classifier.fitted import fitted_classifier
from tamis.classifier.inputs import as_texts, targets_of
from tamis.classifier.out_of_distribution import OODDetector
from tamis.classifier.storage import StoredClassifier, read_classifier, write_classifier
from tamis.decision.verdict import Verdict
from tamis.evaluation.metrics import figures
from tamis.progress import Progress
from tamis.training.callbacks import SILENT, Callbacks
from tamis.training.fit import fit
from tamis.training.prepare import LabelledTexts, prepare


class TextClassifier(Parameters):
    """A text classifier on a GPT-2 trunk.

    Learned attributes: `classes_` (K sorted labels), `positive_` (the positive label of two),
    `recipe_` (every setting, resolved), `predictor_` (texts to logits), `rule_` (probabilities to
    labels), `temperature_`, `ood_detector_`; after `fit` also `training_` (history, notes, facts).
    Shapes: N texts, K classes, C channels. All methods that take texts raise NotFittedError before
    `fit` or `load`, and DataError where a text is not a string or not valid Unicode.

    Examples:
        >>> texts = ["win cash now", "free prize, call now", "see you at six", "are you home?"]
        >>> labels = ["spam", "spam", "ham", "ham"]
        >>> classifier = TextClassifier(backbone="scratch:tiny", tune="head").fit(texts, labels)
        >>> classifier.predict(["free prize, call now", "see you at six"])
        array(['spam', 'ham'], dtype='<U4')
        >>> classifier.predict_proba(["win cash now"]).shape
        (1, 2)
    """

    def fit(
        self,
        texts: Iterable[str],
        labels: ArrayLike,
        *,
        validation: NDArray[np.int64] | None = None,
        groups: NDArray[np.int64] | None = None,
        callbacks: Callbacks = SILENT,
    ) -> Self:
        """Train on labelled texts; two rows a class are enough.

        Args:
            texts: N texts.
            labels: (N,) labels: strings, numbers or booleans.
            validation: numbers of the rows held out for early stopping and threshold, where a loop
                trains; by default a stratified share, or none where there are folds.
            groups: (N,) rows of one group never stand on both sides of a fold; by default repeats.
            callbacks: hooks, a folder for checkpoints, a cache for the frozen trunk's states.

        Raises:
            DataError: texts and labels do not fit, or there are fewer than two classes.
            ConfigError, CheckpointError, DownloadError: a setting or the backbone is wrong.
        """
        self._forget()
        listed, _ = as_texts(texts)
        classes, targets = targets_of(listed, labels)
        rows = LabelledTexts(listed, targets, tuple(map(str, classes)), validation, groups)
        plan = prepare(self.recipe(), rows, callbacks)
        result = fit(plan.backbone, plan.recipe, plan.data, callbacks)
        stored, self.training_ = fitted_classifier(plan, result, classes)
        return self._hold(stored)

    def predict_proba(
        self, texts: Iterable[str], *, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Return (N, K) probabilities in the order of `classes_`; for a single text (K,). The score
        of a text does not depend on other texts. Long texts are scored by windows.
        """
        listed, single = self._checked(texts)
        probabilities = self.predictor_.probabilities(listed, progress=progress)
        return probabilities[0] if single else probabilities

    def decision_function(self, texts: Iterable[str]) -> Any:
        """Return (N,) log-odds of `classes_[1]` without the threshold; for K > 2 (N, K) logits."""
        listed, single = self._checked(texts)
        logits = self.predictor_.logits(listed)
        scores = logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits
        return scores[0] if single else scores

    def predict(self, texts: Iterable[str]) -> Any:
        """Return (N,) labels by the stored threshold (K > 2: the most probable); for a single text
        one label.
        """
        listed, single = self._checked(texts)
        labels = self.classes_[self.rule_.labels(self.predict_proba(listed), self._names)]
        return labels[0] if single else labels

    def verdicts(
        self, texts: Iterable[str], *, ood: bool = False, progress: Progress | None = None
    ) -> list[Verdict]:
        """Return N verdicts: label, verdict (the label or `unsure`), probabilities, deciding
        window. `ood` also reports out-of-distribution texts, at two to three times the cost.
        """
        listed, _ = self._checked(texts)
        found = self.predictor_.verdicts(listed, self.rule_, self._names, progress=progress)
        return self.ood_detector_.mark(found, progress=progress) if ood else found

    def embed(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the (N, C) vectors of length one that the head reads; for a single text (C,)."""
        listed, single = self._checked(texts)
        vectors = self.predictor_.embed(listed)
        return vectors[0] if single else vectors

    def evaluate(self, texts: Iterable[str], labels: Iterable[Any]) -> dict[str, Any]:
        """Return metrics at the stored threshold, as `tamis.evaluation.metrics.figures`."""
        probabilities, named = self.predict_proba(list(texts)), [str(label) for label in labels]
        positive, threshold = self.positive_, self.rule_.threshold
        return figures(named, probabilities, self._names, positive=positive, threshold=threshold)

    def explain(self, text: str, *, label: str | None = None) -> Explanation:
        """Return why a text got its verdict: P(label) after each token, and the contribution of
        each word.
        """
        return explain(self, text, label=label)

    def save(
        self, folder: Path | str, *, card: str | None = None, about: Mapping[str, Any] | None = None
    ) -> None:
        """Write a model folder that transformers loads and scores equally. `card` is the text of
        its README.md, `about` are further facts for `tamis.json`.
        """
        self._check_fitted()
        parts = (self.predictor_, self.rule_, self.classes_, self.recipe_, self.temperature_)
        stored = StoredClassifier(*parts, self.ood_detector_.limit)
        write_classifier(folder, stored, card=card, about=about)

    @classmethod
    def load(
        cls,
        run: Path | str,
        *,
        device: str = "auto",
        threads: int | None = None,
        dtype: str = "fp32",
    ) -> Self:
        """Return a fitted classifier from a run folder, a model folder, or a folder of transformers
        for GPT-2 classification.

        Raises:
            RunError: there is no such folder, or its training is not finished.
            CheckpointError: its files are missing, were changed or do not match.
        """
        stored = read_classifier(run, device=device, threads=threads, dtype=dtype)
        return cls.from_recipe(stored.recipe)._hold(stored)

    def fingerprint(self) -> str:
        """Return a hash of all weights, head included."""
        return self.predictor_.fingerprint()

    def _hold(self, stored: StoredClassifier) -> Self:
        self.predictor_, self.rule_, self.classes_ = stored.predictor, stored.rule, stored.classes
        self.recipe_, self.temperature_ = stored.recipe, stored.temperature
        self.positive_ = stored.rule.positive
        self.ood_detector_ = OODDetector(stored.predictor, stored.recipe, stored.limit)
        return self

    @property
    def _names(self) -> list[str]:
        return [str(label) for label in self.classes_]
