"""The model card of an upload: that of the run it was loaded from, under the name of the
repository; else a short one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.compute.versions import versions
from tamis.errors import CheckpointError
from tamis.evaluation.report.model_card import EXAMPLES, model_card

if TYPE_CHECKING:
    from tamis.classifier.analysis import Analysis

_REPORT = "report.json"


def hub_card(
    classifier: Analysis,
    repository: str,
    *,
    license: str | None = None,
    examples: Sequence[str] | None = None,
) -> str:
    """Return the text of README.md.

    Args:
        classifier: fitted or loaded; from a run folder the card has its metrics.
        repository: `organization/name`.
        license: identifier of the hub, such as `mit`.
        examples: texts for the page of the hub; by default one neutral text.

    Raises:
        CheckpointError: the report of the run cannot be read.
    """
    report = _report(getattr(classifier, "origin_", None)) or _facts(classifier)
    shown = EXAMPLES if examples is None else examples
    return model_card(report, name=repository, license=license, examples=shown)


def _report(origin: Path | None) -> dict[str, Any] | None:
    """Return the report of the run folder; None without one."""
    for folder in () if origin is None else (origin, origin.parent):
        path = folder / _REPORT
        if path.is_file() and (folder / "model").is_dir():
            try:
                report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise CheckpointError(f"{path} cannot be read as JSON ({error})") from error
            return report
    return None


def _facts(classifier: Analysis) -> dict[str, Any]:
    """Return what is known of a classifier without a run, by the keys of report.json."""
    rule, recipe = classifier.rule_, classifier.recipe_
    unsure: dict[str, Any] | None = None
    if rule.low is not None and rule.high is not None:
        unsure = {"low": rule.low, "high": rule.high}
    elif rule.confidence_floor is not None:
        unsure = {"value": rule.confidence_floor}
    rows: dict[str, Any] = {}
    if hasattr(classifier, "training_"):
        rows["training"] = len(classifier.training_.rows.texts)
    return {
        "test": None,
        "validation": None,
        "baselines": {},
        "classes": [str(label) for label in classifier.classes_],
        "positive": rule.positive,
        "rows": rows,
        "data": None,
        "split": "unknown",
        "backbone": Path(recipe.backbone).name,
        "tune": recipe.tune,
        "warnings": [],
        "notes": [],
        "threshold": rule.threshold,
        "threshold_choice": None,
        "unsure": unsure,
        "versions": versions(),
    }
