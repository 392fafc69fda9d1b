"""Changes of parameters after `fit` or `load`: what they mean for the learned parts.

Decision settings are chosen again on the scores of held-out rows, compute settings are switched;
everything else needs a new training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from numpy.typing import NDArray

from tamis.classifier.predictor import Predictor
from tamis.compute import device as devices
from tamis.config import Recipe
from tamis.decision.fit_rule import HeldOutScores, check_decision_settings, choose_rule
from tamis.decision.verdict import DecisionRule
from tamis.errors import ConfigError
from tamis.training.resolve import resolve_scoring

RULE = ("data.positive", "decision.max_fpr", "decision.costs", "decision.abstain_rate")
COMPUTE = ("compute.device", "compute.threads", "compute.dtype")
UNUSED = tuple(f"data.{name}" for name in ("split", "text", "label", "header", "test", "exclude"))
"""Settings of tables, which a classifier does not read."""


class HoldsPredictor(Protocol):
    """A fitted classifier."""

    predictor_: Predictor


class FittedParts(HoldsPredictor, Protocol):
    """The learned parts of a classifier that a change may replace."""

    rule_: DecisionRule
    classes_: NDArray[Any]
    positive_: str | None
    recipe_: Recipe
    held_out_: HeldOutScores | None


@dataclass(frozen=True)
class ParameterSnapshot:
    """The parameters that the learned parts belong to, and the recipe they define."""

    params: dict[str, Any]
    recipe: Recipe


@dataclass(frozen=True)
class Changes:
    """Settings that differ from those at `fit` or `load`, with the new values."""

    rule: dict[str, Any]
    """settings of the decision rule"""
    compute: dict[str, Any]
    training: dict[str, tuple[Any, Any]]
    """old and new values of settings that need a new training"""
    asked: Recipe
    """by the parameters now, unresolved"""

    @classmethod
    def between(cls, snapshot: ParameterSnapshot, recipe: Recipe) -> Changes:
        """Return what differs between the parameters then and a recipe now."""
        old, new = _flat(snapshot.recipe), _flat(recipe)
        changed = {name: value for name, value in new.items() if old[name] != value}
        return cls(
            {name: value for name, value in changed.items() if name in RULE},
            {name: value for name, value in changed.items() if name in COMPUTE},
            {
                name: (old[name], value)
                for name, value in changed.items()
                if name not in (*RULE, *COMPUTE, *UNUSED)
            },
            recipe,
        )

    @property
    def any(self) -> bool:
        """Whether something can be changed without a training."""
        return bool(self.rule or self.compute)

    def needs_training(self) -> str:
        """Return the message of the error where a change needs a new training."""
        shown = ", ".join(
            f"{name} = {new!r:.60} (trained with {old!r:.60})"
            for name, (old, new) in self.training.items()
        )
        return f"changed after the training, and without effect until the next: {shown}; call " + (
            "fit again, or set the old value back"
        )

    def apply(self, classifier: FittedParts) -> None:
        """Give a classifier the new decision rule and computation.

        Raises:
            ConfigError: a value is wrong, or no held-out scores are known to choose the rule on.
        """
        recipe = classifier.recipe_.changed({**self.rule, **self.compute})
        predictor, rule = classifier.predictor_, classifier.rule_
        if self.compute:
            predictor = _computed_by(predictor, recipe)
            found = {name: getattr(predictor.compute, name.split(".")[1]) for name in COMPUTE}
            recipe = recipe.changed(found)
        if self.rule:
            positive = _positive(classifier, recipe.data.positive)
            scoring = resolve_scoring(self.asked, positive)
            recipe = recipe.changed({"decision.scoring": scoring})
            rule = _chosen_again(classifier, recipe, positive, self.rule)
            positive = rule.positive
            place = None if positive is None else _names(classifier).index(positive)
            aggregation = replace(predictor.encoder.aggregation, positive=place)
            encoder = replace(predictor.encoder, aggregation=aggregation)
            predictor = replace(predictor, encoder=encoder)
        replace_predictor(classifier, predictor)
        classifier.rule_, classifier.recipe_ = rule, recipe
        classifier.positive_ = rule.positive


def replace_predictor(classifier: HoldsPredictor, predictor: Predictor) -> None:
    """Give a fitted classifier another predictor, also for its out-of-distribution detector."""
    classifier.predictor_ = predictor
    detector = getattr(classifier, "_ood_detector_", None)
    if detector is not None:
        vars(classifier)["_ood_detector_"] = replace(detector, predictor=predictor)


def _chosen_again(
    classifier: FittedParts, recipe: Recipe, positive: str | None, changed: dict[str, Any]
) -> DecisionRule:
    """The decision rule by new settings."""
    names, held_out = _names(classifier), classifier.held_out_
    check_decision_settings(recipe.decision, len(names))
    if (
        held_out is not None
        and len(names) == 2
        and not 0 < held_out.truth.sum() < len(held_out.truth)
    ):
        held_out = None
    if held_out is not None and len(held_out.scores):
        return choose_rule(held_out, names, positive, recipe.decision).rule
    rule = classifier.rule_
    if len(names) > 2 and "decision.abstain_rate" not in changed:
        return rule
    if rule.threshold is None and set(changed) == {"data.positive"}:
        return DecisionRule(positive=positive, threshold=0.5)  # of two: the more probable one
    raise ConfigError(
        f"{', '.join(changed)}: the classifier knows no scores of held-out rows to choose the "
        "threshold on (a model that another program wrote, one of an earlier version, or one "
        "trained on too few rows); call fit again, or set_threshold with rows of your own"
    )


def _positive(classifier: FittedParts, asked: str | None) -> str | None:
    """The positive class of two: as asked, or the rarer one of the held-out rows."""
    names = _names(classifier)
    if len(names) != 2:
        return None
    if asked is None:
        held_out = classifier.held_out_
        if held_out is None or not len(held_out.truth):
            return classifier.positive_
        return names[1] if held_out.truth.mean() <= 0.5 else names[0]
    if asked not in names:
        raise ConfigError(
            f"positive label: expected one of {', '.join(map(repr, names))}, got {asked!r}; "
            "choose one of them"
        )
    return asked


def _computed_by(predictor: Predictor, recipe: Recipe) -> Predictor:
    """The predictor on another device, with other threads or another number type."""
    asked = recipe.compute
    compute = devices.resolve(asked.device, asked.threads, asked.dtype)
    same = (compute.device, compute.dtype) == (predictor.compute.device, predictor.compute.dtype)
    if same:
        other = replace(predictor, compute=compute)
        vars(other)["scorer"] = predictor.scorer  # the trunk is not cast again
        return other
    model = predictor.exact_model()
    if compute.device != predictor.compute.device:
        model = model.to(compute.device)
    return Predictor(model, predictor.encoder, compute)


def _names(classifier: FittedParts) -> list[str]:
    return [str(label) for label in classifier.classes_]


def _flat(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in recipe.model_dump().items():
        if name in ("data", "text", "train", "decision", "compute"):
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found
