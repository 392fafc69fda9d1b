"""What a fitted classifier is asked besides predictions: evaluation, explanation, suggestions of
texts to label, another threshold, a view for notebooks.

Each method hands over to the module that does the work, imported when it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from tamis.classifier.inputs import Texts, as_texts
from tamis.classifier.learned import Learned

if TYPE_CHECKING:
    from tamis.classifier.active_learning import Suggested
    from tamis.classifier.explain import Explanation
    from tamis.classifier.explain.subject import ExplainedClassifier
    from tamis.classifier.query_strategies import Strategy
    from tamis.evaluation.report.evaluation_report import EvaluationReport


class Analysis(Learned):
    """Questions to a fitted classifier."""

    def evaluate(
        self,
        texts: Texts,
        labels: Iterable[Any],
        *,
        train: tuple[Texts, Iterable[Any]] | None = None,
    ) -> EvaluationReport:
        """Return the report of `tamis evaluate` on N labelled texts: metrics at the stored
        threshold with 95 % intervals, baselines, plots, mistakes.

        Args:
            texts: N texts.
            labels: N labels.
            train: texts and labels of the training rows, on which the baselines are fitted; after
                `fit` those that `fit` was given. A loaded classifier knows none: without them the
                report has no baselines.

        Raises:
            DataError: the lengths differ, there are no rows, or a label is unknown or missing.
        """
        listed = self._checked(texts)
        from tamis.classifier.evaluation import EvaluatedRows, evaluate_rows, label_names

        names = label_names(labels, self.classes_)
        known = self.training_.labelled_texts if hasattr(self, "training_") else None
        if train is not None:
            known = as_texts(train[0]), label_names(train[1], self.classes_)
        rows = EvaluatedRows(listed, names, train=known)
        return evaluate_rows(self, rows, progress=self._progress())

    def explain(self: ExplainedClassifier, text: str, *, label: str | None = None) -> Explanation:
        """Return why a text got its verdict: P(label) after each token, and the contribution of
        each word.

        Raises:
            ConfigError: there is no such label.
        """
        from tamis.classifier.explain import explain

        return explain(self, text, label=label)

    def suggest(
        self,
        texts: Texts,
        count: int = 50,
        *,
        strategy: Strategy = "clusters",
        labelled: Texts = (),
    ) -> Suggested:
        """Return the texts to label next: uncertain ones that differ from each other.

        Args:
            texts: unlabelled texts.
            count: maximum number of suggestions.
            strategy: `clusters`, `margin` or `random`.
            labelled: texts that are already labelled, besides those that `fit` was given and those
                of the run that was loaded; they are omitted.

        Raises:
            ConfigError: `count` is below 1, or the strategy is unknown.
            DataError: there are no texts, or all of them are labelled.
        """
        listed = self._checked(texts)
        from tamis.classifier.active_learning import QueryStrategy, choose_texts

        known = as_texts(labelled)
        if hasattr(self, "training_"):
            known += self.training_.rows.texts
        return choose_texts(
            self,
            listed,
            count,
            labelled=known,
            run=getattr(self, "origin_", None),
            strategy=QueryStrategy(strategy, self.recipe_.seed),
            progress=self._progress(),
        )

    def set_threshold(
        self,
        threshold: float | None = None,
        *,
        max_fpr: float | None = None,
        rows: tuple[Texts, Iterable[Any]] | None = None,
    ) -> Self:
        """Change the threshold of the positive class (two classes only); `save` keeps it.

        Args:
            threshold: probability from which a text is positive; None: chosen on held-out rows, by
                `max_fpr` or else by `decision.scoring`.
            max_fpr: maximum false positive rate of the chosen threshold.
            rows: texts and labels that the classifier was not trained on, to choose the threshold
                and the `unsure` band on; by default the rows that the training held out.

        Raises:
            ConfigError: more than two classes, both or an invalid threshold and `max_fpr`, or a
                threshold is to be chosen without held-out rows.
            DataError: the rows lack a class, or a label is unknown.
        """
        self._check_fitted()
        from tamis.classifier.evaluation import label_names
        from tamis.classifier.threshold import new_rule, scores_of

        held_out = self.held_out_
        if rows is not None:
            texts = self._checked(rows[0])
            held_out = scores_of(self, texts, label_names(rows[1], self.classes_))
        self.rule_ = new_rule(self, held_out, threshold=threshold, max_fpr=max_fpr)
        return self

    def _repr_html_(self) -> str:
        """Return the classifier for a notebook: its parameters and what it learned."""
        from tamis.classifier.notebook_html import classifier_html

        return classifier_html(self)
