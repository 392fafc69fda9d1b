"""A classifier and its suggestions as HTML for a notebook. The frame is that of verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from markupsafe import Markup
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.decision.notebook_html import SHOWN, frame, probability_cell, table, text_cell
from tamis.decision.verdict import DecisionRule

_CLASSES = 12
"""Labels of a classifier that are named."""


class ShownClassifier(Protocol):
    """A classifier, fitted or not; `TextClassifier` is one."""

    classes_: NDArray[Any]
    rule_: DecisionRule
    recipe_: Recipe

    def __sklearn_is_fitted__(self) -> bool:
        """Whether it is fitted."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name."""
        ...


def classifier_html(classifier: ShownClassifier) -> str:
    """Return what a classifier was asked for and what it learned; nothing is computed."""
    given = [[name, repr(value)] for name, value in classifier.get_params(deep=False).items()]
    parameters = Markup("<details><summary>Parameters</summary>{}</details>").format(
        table([], given)
    )
    name = type(classifier).__name__
    if not classifier.__sklearn_is_fitted__():
        title = Markup('<p><b>{}</b> <span class="soft">not fitted</span></p>').format(name)
        return frame(title, Markup("<p><code>{!r}</code></p>").format(classifier), parameters)
    title = Markup('<p><b>{}</b> <span class="soft">fitted</span></p>').format(name)
    return frame(title, table([], _facts(classifier)), parameters)


def _facts(classifier: ShownClassifier) -> list[list[str]]:
    recipe, rule = classifier.recipe_, classifier.rule_
    labels = [str(label) for label in classifier.classes_]
    more = len(labels) - _CLASSES
    shown = ", ".join(labels[:_CLASSES]) + (f" and {more} more" if more > 0 else "")
    facts = [["backbone", recipe.backbone], ["tune", recipe.tune], ["classes", shown]]
    if rule.positive is not None:
        facts.append(["positive class", rule.positive])
    if rule.threshold is not None:
        facts.append(["threshold", f"P({rule.positive}) ≥ {rule.threshold:.4g}"])
    if rule.low is not None and rule.high is not None:
        facts.append(["unsure", f"P({rule.positive}) from {rule.low:.3g} to {rule.high:.3g}"])
    if rule.confidence_floor is not None:
        facts.append(["unsure", f"highest probability below {rule.confidence_floor:.3g}"])
    return [*facts, ["device", f"{recipe.compute.device}, {recipe.compute.dtype}"]]


def suggestions_html(found: Mapping[str, Any]) -> str:
    """Return a table of suggested texts, as `Suggested.to_dict` gives them; of many, the first
    `SHOWN`.
    """
    suggestions = found["suggestions"]
    rows = [
        [
            text_cell(one["text"]),
            one["label"],
            probability_cell(one["probabilities"][one["label"]]),
            probability_cell(one["uncertainty"]),
        ]
        for one in suggestions[:SHOWN]
    ]
    counts = (
        f"{len(suggestions):,} of {found['seen']:,} texts; {found['labelled']:,} are already "
        f"labelled, {found['repeated']:,} are empty or near-duplicates; "
        f"strategy: {found['strategy']}"
        + (f"; the first {SHOWN} are shown" if len(suggestions) > SHOWN else "")
    )
    header = ["text", "predicted label", "probability", "uncertainty"]
    return frame(Markup('<p class="soft">{}</p>').format(counts), table(header, rows))
