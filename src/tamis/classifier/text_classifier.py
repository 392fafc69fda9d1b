"""TextClassifier: the estimator that users hold. It follows scikit-learn's contract."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.classifier.fitted import fitted_classifier
from tamis.classifier.inputs import Texts
from tamis.classifier.partial_fit import LearnedRows, check_classes, learn_rows, with_all_classes
from tamis.classifier.stored_model import StoredModel
from tamis.classifier.targets import Labels, labelled_texts
from tamis.decision.verdict import APPLIES, Verdicts
from tamis.progress import Progress
from tamis.training.callbacks import SILENT, Callbacks
from tamis.training.prepare import prepare


class TextClassifier(StoredModel):
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

    learned_rows_: LearnedRows
    """what the head was solved on last; only after `partial_fit`"""

    def fit(
        self,
        X: Texts,
        y: Labels,
        sample_weight: ArrayLike | None = None,
        *,
        validation: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        callbacks: Callbacks = SILENT,
    ) -> Self:
        """Train on labelled texts; two rows a class are enough.

        Args:
            X: N texts.
            y: (N,) labels: strings, whole numbers or booleans.
            sample_weight: (N,) weights of the rows in the loss, from 0 on; a row of weight 0 is
                left out. Calibration, threshold and `unsure` band count every other row once.
            validation: numbers of the rows held out for early stopping and threshold, where a loop
                trains; by default a stratified share, or none where there are folds.
            groups: (N,) rows of one group never stand on both sides of a fold; by default repeats.
            callbacks: hooks, a folder for checkpoints, a cache for the frozen trunk's states.

        Raises:
            DataError: an argument is wrong, or there are fewer than two classes.
            ConfigError, CheckpointError, DownloadError: a setting or the backbone is wrong.
        """
        from tamis.training.fit import fit  # a prediction needs none of the training loop

        self._forget()
        rows, classes = labelled_texts(X, y, sample_weight, validation, groups)
        callbacks = self._shown(callbacks)
        plan = prepare(self.recipe(classes), rows, callbacks)
        result = fit(plan.backbone, plan.recipe, plan.data, callbacks)
        self._note_column(X)
        return self._hold(*fitted_classifier(plan, result, classes), told=plan.notes)

    def partial_fit(
        self, X: Texts, y: Labels, classes: ArrayLike | None = None, sample_weight: Any = None
    ) -> Self:
        """Learn further rows: the head is solved again on all rows so far, the trunk and the
        threshold stay. The first call on an unfitted classifier is `fit`.

        Args:
            X: n texts; a text that was learned with another label gets the new one.
            y: (n,) labels; all of them must be known from the first fit.
            classes: all labels; not needed, because the first rows must contain each of them.
            sample_weight: (n,) weights of the rows; a training row has weight 1.

        Raises:
            DataError: an argument is wrong, or a label is unknown.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X, with_all_classes(y, classes), sample_weight)
        check_classes(classes, self.classes_)
        learn_rows(self, self._checked(X), y, sample_weight)
        return self

    def predict_proba(self, X: Texts, *, progress: Progress | None = None) -> NDArray[np.float64]:
        """Return (N, K) probabilities in the order of `classes_`. The score of a text does not
        depend on other texts. Long texts are scored by windows.
        """
        texts = self._checked(X)
        logits = self.predictor_.prompt_logits(texts, progress=progress or self._progress())
        return self.rule_.probabilities(logits)

    def decision_function(self, X: Texts) -> NDArray[np.float64]:
        """Return (N,) log-odds of `classes_[1]` without the threshold; for K > 2 (N, K) logits."""
        texts = self._checked(X)
        logits = self.predictor_.prompt_logits(texts, progress=self._progress())
        two = logits.shape[1] == 2 and not self.rule_.multi_label
        return logits[:, 1] - logits[:, 0] if two else logits

    def predict(self, X: Texts) -> NDArray[Any]:
        """Return (N,) labels by the stored threshold (K > 2: the most probable); of a multi-label
        model (N, K) zeros and ones, a column for each of `classes_`.
        """
        probabilities = self.predict_proba(X)
        if self.rule_.multi_label:
            return np.asarray(probabilities >= APPLIES, dtype=np.int64)
        return np.asarray(self.classes_[self.rule_.labels(probabilities, self._names)])

    def verdicts(
        self, X: Texts, *, ood: bool = False, progress: Progress | None = None
    ) -> Verdicts:
        """Return N verdicts: label, verdict (the label or `unsure`), probabilities, deciding
        window. `ood` also reports out-of-distribution texts, from the same pass; at three to four
        times the cost with a model whose limit is one on bits per byte.
        """
        texts, progress = self._checked(X), progress or self._progress()
        predictor, rule, names = self.predictor_, self.rule_, self._names
        if ood and self.ood_detector_.reads_features:
            found, features = predictor.verdicts_and_features(texts, rule, names, progress=progress)
            return Verdicts(self.ood_detector_.mark(found, features=features))
        found = predictor.verdicts(texts, rule, names, progress=progress)
        return Verdicts(self.ood_detector_.mark(found, progress=progress) if ood else found)

    def embed(self, X: Texts) -> NDArray[np.float32]:
        """Return the (N, C) vectors of length one that the head reads."""
        texts = self._checked(X)
        return self.predictor_.embed(texts, progress=self._progress())

    def fingerprint(self) -> str:
        """Return a hash of all weights, head included."""
        return self.predictor_.fingerprint()
