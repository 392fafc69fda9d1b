"""Explain a verdict: P(label) after every token from one pass, and the contribution of each word by
leaving words out.
"""

from __future__ import annotations

import numpy as np

from tamis.classifier.explain.explanation import Explanation, TokenPoint, WordAttribution
from tamis.classifier.explain.occlusion import window_attributions, word_attributions
from tamis.classifier.explain.subject import ExplainedClassifier
from tamis.classifier.explain.token_curve import offsets, running_probabilities
from tamis.decision.verdict import APPLIES, Window
from tamis.errors import ConfigError

__all__ = ["Explanation", "TokenPoint", "WordAttribution", "explain"]


def explain(classifier: ExplainedClassifier, text: str, *, label: str | None = None) -> Explanation:
    """Return why a text got its verdict.

    Args:
        classifier: a fitted classifier.
        text: any string.
        label: label whose probability is explained. By default the positive label (two classes), so
            that a positive contribution means the same for every text, otherwise the predicted
            label.

    Raises:
        NotFittedError: the classifier is not fitted.
        DataError: the text is not a string or not valid Unicode.
        ConfigError: there is no such label.
    """
    verdict = classifier.verdicts([text])[0]
    names = [str(name) for name in classifier.classes_]
    if label is not None and label not in names:
        raise ConfigError(f"label must be one of {names}; got {label!r}")
    explained = label or classifier.positive_ or verdict.label
    place = names.index(explained)
    running = running_probabilities(classifier, text)  # (T, K)
    labels = (
        running[:, place] >= APPLIES
        if classifier.rule_.multi_label
        else classifier.rule_.labels(running, names)
    )
    others = np.flatnonzero(labels != labels[-1])
    points = zip(offsets(classifier, text), running[:, place].tolist(), strict=True)
    if verdict.window is not None and classifier.positive_ is not None:
        found = window_attributions(classifier, text, place, verdict.window)
    else:
        found = word_attributions(classifier, text, place, tokens=len(running))
    return Explanation(
        text=text,
        label=verdict.label,
        verdict=verdict.verdict,
        probabilities=verdict.probabilities,
        explained=explained,
        tokens=tuple(TokenPoint(start, end, p) for (start, end), p in points),
        turn=int(others[-1]) + 1 if len(others) else 0,
        words=found.words,
        log_odds=found.log_odds,
        empty_log_odds=found.empty_log_odds,
        threshold=_threshold(classifier, explained, names),
        notes=[*found.notes, *_about(verdict.window, classifier.positive_)],
        window=verdict.window,
    )


def _about(window: Window | None, positive: str | None) -> list[str]:
    if window is None:
        return []
    part = f"window {window.number + 1} of {window.of}, characters {window.start} to {window.end}"
    return [
        f"The text is longer than the model's context and was read by windows; {part}, speaks "
        f"most for {positive or 'the verdict'}."
    ]


def _threshold(classifier: ExplainedClassifier, explained: str, names: list[str]) -> float | None:
    """P(explained) at which the label changes, None where more than one number decides."""
    if classifier.rule_.multi_label:
        return APPLIES
    threshold = classifier.rule_.threshold
    if threshold is None or len(names) != 2:
        return None
    return threshold if explained == classifier.rule_.positive else 1 - threshold
