"""Give a fitted classifier of two classes another threshold.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.evaluation import check_labels
from tamis.classifier.predictor import Predictor
from tamis.config import Recipe
from tamis.decision.fit_rule import HeldOutScores, choose_rule
from tamis.decision.reject_band import reject_band
from tamis.decision.verdict import DecisionRule
from tamis.errors import ConfigError


class ThresholdClassifier(Protocol):
    """A fitted classifier; `TextClassifier` is one."""

    classes_: NDArray[Any]
    rule_: DecisionRule
    recipe_: Recipe
    predictor_: Predictor


def scores_of(
    classifier: ThresholdClassifier, texts: Sequence[str], labels: Sequence[str]
) -> HeldOutScores:
    """Return the scores of N labelled texts that the classifier was not trained on.

    Raises:
        ConfigError: the classifier has no threshold.
        DataError: the lengths differ, there are no rows, or a label is unknown.
    """
    _place(classifier)
    names = [str(name) for name in classifier.classes_]
    check_labels(texts, labels, names)
    targets = np.array([names.index(label) for label in labels], dtype=np.int64)
    return HeldOutScores.of(classifier.predictor_.probabilities(texts), targets)


def new_rule(
    classifier: ThresholdClassifier,
    held_out: HeldOutScores | None,
    *,
    threshold: float | None = None,
    max_fpr: float | None = None,
) -> DecisionRule:
    """Return the decision rule of a classifier with another threshold, and the `unsure` band that
    belongs to it.

    Args:
        classifier: a fitted classifier of two classes.
        held_out: rows to choose the threshold and the band on. Without them, the old band is kept
            if it contains the threshold, and dropped otherwise.
        threshold: the threshold; None: chosen.
        max_fpr: maximum false positive rate of the chosen threshold; None: by `decision.scoring`.

    Raises:
        ConfigError: the classifier has no threshold; both `threshold` and `max_fpr` are given, or
            one is out of range; a threshold is to be chosen without held-out rows.
        DataError: a threshold is to be chosen on rows of one class.
    """
    rule, place = classifier.rule_, _place(classifier)
    if threshold is not None and max_fpr is not None:
        raise ConfigError("threshold and max_fpr both set the threshold; give only one of them")
    if threshold is None:
        if held_out is None or not len(held_out.scores):
            raise ConfigError(
                "to choose a threshold, labelled rows are needed that the classifier was not "
                "trained on, and it knows none; give rows=(texts, labels), or the threshold itself"
            )
        asked = {"decision.max_fpr": max_fpr, "decision.costs": None}
        settings = classifier.recipe_.changed(asked).decision
        names = [str(name) for name in classifier.classes_]
        return choose_rule(held_out, names, rule.positive, settings).rule
    # A threshold just above 1, as max_fpr may choose it, flags no text at all.
    given: Any = threshold
    if isinstance(given, bool) or not isinstance(given, Real):
        raise ConfigError(f"threshold: expected a number in [0, 1], got {given!r:.60}")
    if not 0.0 <= threshold <= np.nextafter(1.0, 2.0):
        raise ConfigError(
            f"threshold: expected a probability of {rule.positive!r} in [0, 1], got {threshold!r}"
        )
    ends: tuple[float | None, float | None] = (None, None)
    if held_out is not None and len(held_out.scores):
        share = classifier.recipe_.decision.abstain_rate
        band = reject_band(*held_out.of_class(place), threshold, share=share)
        ends = (None, None) if band is None else (band.low, band.high)
    elif rule.low is not None and rule.high is not None and rule.low <= threshold <= rule.high:
        ends = (rule.low, rule.high)
    return replace(rule, threshold=float(threshold), low=ends[0], high=ends[1])


def _place(classifier: ThresholdClassifier) -> int:
    """Class number of the positive class."""
    names = [str(name) for name in classifier.classes_]
    if classifier.rule_.positive is None or len(names) != 2:
        raise ConfigError(
            "a threshold needs two classes and a positive one; this classifier chooses the most "
            f"probable of {len(names)} classes"
        )
    return names.index(classifier.rule_.positive)
