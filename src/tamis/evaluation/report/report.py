"""report.json: all metrics of a run in one dictionary, with warnings and notes.

This module defines the keys of report.json and the list of mistakes. The HTML report is in
render_html.py, the model card in model_card.py. Source: Mitchell et al. 2019 (model cards).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.decision.calibration import Calibration
from tamis.decision.reject_band import ConfidenceFloor, RejectBand
from tamis.decision.thresholds import Threshold
from tamis.errors import DataError
from tamis.evaluation.metrics import collapse_warnings, figures, mcnemar, predictions
from tamis.evaluation.report.confusion import confusions
from tamis.evaluation.report.next_steps import next_steps
from tamis.evaluation.report.plain_summary import summarize
from tamis.evaluation.report.recipe_facts import recipe_facts


@dataclass(frozen=True)
class Part:
    """One part of the data: N labels, probabilities (N, K) in the order of the classes, and the
    texts if mistakes are listed.
    """

    labels: Sequence[str]
    probabilities: NDArray[Any]
    texts: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """The inputs of a report. All but the first five are optional, because an evaluation has no
    training.

    `rows` counts the rows per part. `baselines` are probabilities (N, K) on the test rows, by name.
    `timing` contains seconds per phase (and messages per second, device, dtype). `temperature` is
    the temperature that is part of the weights. `test_data` names the file of the test rows, if
    they are no part of `data`. `recipe` is that of the model; `positive_named`: the user
    named the positive class for this evaluation.
    """

    classes: Sequence[str]
    positive: str | None
    split: str
    backbone: str
    tune: str
    data: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    test: Part | None = None
    validation: Part | None = None
    threshold: Threshold | float | None = None
    unsure: RejectBand | ConfidenceFloor | None = None
    temperature: float | None = None
    calibration: Calibration | None = None
    baselines: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    timing: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    test_data: str = ""
    recipe: Recipe | None = None
    positive_named: bool = False


def build_report(inputs: ReportInputs, *, bootstrap: int = 1000, seed: int = 42) -> dict[str, Any]:
    """The content of report.json: only dictionaries, lists, strings, finite numbers and None.

    `test` and `validation` have the keys of `metrics.figures` (None if the part is absent);
    `baselines` has them for each baseline, on the test rows with threshold 0.5. `threshold` is the
    threshold in use (None for K classes), `threshold_choice` describes how it was chosen.
    `confusions` are the most frequent confusions of K > 2 classes. `mcnemar` compares with `tfidf`
    on the test rows. `warnings` are shown at the top, `notes` below. `summary` tells the result in
    whole numbers (`plain_summary.summarize`), `next_steps` what to try next.

    Raises:
        DataError, ConfigError: as `metrics.figures`; DataError also if the probabilities of a
            baseline do not match the test rows.
    """
    value = inputs.threshold.value if isinstance(inputs.threshold, Threshold) else inputs.threshold
    if inputs.positive is not None and len(inputs.classes) == 2 and value is None:
        value = 0.5

    def judged(
        labels: Sequence[str], probabilities: NDArray[Any], threshold: float | None
    ) -> dict[str, Any] | None:
        if not len(labels):
            return None
        return figures(
            labels,
            probabilities,
            inputs.classes,
            positive=inputs.positive,
            threshold=threshold,
            bootstrap=bootstrap,
            seed=seed,
        )

    test = judged(inputs.test.labels, inputs.test.probabilities, value) if inputs.test else None
    validation = (
        judged(inputs.validation.labels, inputs.validation.probabilities, value)
        if inputs.validation
        else None
    )
    shown = (
        inputs.test if test is not None else inputs.validation if validation is not None else None
    )
    judged_part = test if test is not None else validation
    warnings: list[str] = []
    if shown is not None:
        warnings += collapse_warnings(
            shown.labels,
            shown.probabilities,
            inputs.classes,
            positive=inputs.positive,
            threshold=value,
        )
    baselines: dict[str, Any] = {}
    paired = None
    if inputs.test is not None and test is not None:
        for name, probabilities in inputs.baselines.items():
            if np.shape(probabilities) != np.shape(inputs.test.probabilities):
                raise DataError(
                    f"baseline {name!r}: expected probabilities on the test rows, shape "
                    f"{np.shape(inputs.test.probabilities)}, "
                    f"got {np.shape(probabilities)}"
                )
            baselines[name] = judged(inputs.test.labels, probabilities, 0.5)
        if "tfidf" in inputs.baselines:
            correct = _correct(
                inputs.test, inputs.test.probabilities, inputs.classes, inputs.positive, value
            )
            other = _correct(
                inputs.test, inputs.baselines["tfidf"], inputs.classes, inputs.positive, 0.5
            )
            paired = {"against": "tfidf", **mcnemar(correct, other)}
            if paired["p_value"] < 0.05 and paired["model_only_wrong"] > paired["other_only_wrong"]:
                warnings.append(
                    "TF-IDF with logistic regression makes significantly fewer errors on the same "
                    "rows (McNemar's test, p < 0.05)."
                )
    notes = list(inputs.notes)
    if isinstance(inputs.threshold, Threshold):
        (notes if inputs.threshold.resolved else warnings).extend(inputs.threshold.notes)
    if inputs.calibration is not None:
        notes += inputs.calibration.notes
    temperature = inputs.temperature
    if temperature is None and inputs.calibration is not None:
        temperature = inputs.calibration.temperature
    report: dict[str, Any] = {
        "data": inputs.data,
        "test_data": inputs.test_data or None,
        "rows": dict(inputs.rows),
        "classes": list(inputs.classes),
        "positive": inputs.positive,
        "split": inputs.split,
        "backbone": inputs.backbone,
        "tune": inputs.tune,
        **recipe_facts(inputs.recipe, inputs.positive, named=inputs.positive_named),
        "threshold": value,
        "threshold_choice": asdict(inputs.threshold)
        if isinstance(inputs.threshold, Threshold)
        else None,
        "unsure": _unsure(inputs, value),
        "temperature": temperature,
        "calibration": asdict(inputs.calibration) if inputs.calibration is not None else None,
        "test": test,
        "validation": validation,
        "confusions": confusions(judged_part["confusion"], inputs.classes)
        if judged_part is not None and len(inputs.classes) > 2
        else None,
        "baselines": baselines,
        "mcnemar": paired,
        "timing": dict(inputs.timing),
        "versions": dict(inputs.versions),
        "warnings": warnings,
        "notes": notes,
    }
    plain: dict[str, Any] = json_safe(report)
    plain["summary"] = json_safe(summarize(plain))
    plain["next_steps"] = next_steps(plain)
    return plain


def most_confident_mistakes(
    part: Part,
    classes: Sequence[str],
    *,
    positive: str | None,
    threshold: float | None,
    limit: int = 20,
) -> list[dict[str, Any]]:
    """The `limit` wrong predictions with the highest probability: row (0-based), label, predicted,
    probability, text.
    """
    predicted = predictions(part.probabilities, classes, positive=positive, threshold=threshold)
    wrong = [row for row, label in enumerate(part.labels) if classes[predicted[row]] != label]
    wrong.sort(key=lambda row: (-float(part.probabilities[row, predicted[row]]), row))
    return [
        {
            "row": row,
            "label": part.labels[row],
            "predicted": classes[predicted[row]],
            "probability": float(part.probabilities[row, predicted[row]]),
            "text": part.texts[row] if len(part.texts) else "",
        }
        for row in wrong[:limit]
    ]


def mcnemar_sentence(report: Mapping[str, Any]) -> str:
    """Describe the result of McNemar's test; empty if there was no comparison."""
    paired = report.get("mcnemar")
    if not paired:
        return ""
    model, other, p = paired["model_only_wrong"], paired["other_only_wrong"], paired["p_value"]
    if model == other == 0:
        return "The model and TF-IDF are correct on exactly the same rows."
    counts = (
        f"{model:,} {'row is' if model == 1 else 'rows are'} wrong only for the model, {other:,} "
        "only for TF-IDF "
        f"(McNemar's exact test, {'p < 0.001' if p < 0.001 else f'p = {p:.2g}'})"
    )
    if p >= 0.05:
        return f"{counts}: the difference is not significant."
    return (
        f"{counts}: the {'model' if model < other else 'TF-IDF baseline'} is significantly better."
    )


def json_safe(value: Any) -> Any:
    """Convert to plain Python values: NumPy values become numbers, tuples become lists, NaN and
    infinities become None.
    """
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return json_safe(value.tolist())
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)  # a path, a torch dtype or device


def _correct(
    part: Part,
    probabilities: NDArray[Any],
    classes: Sequence[str],
    positive: str | None,
    threshold: float | None,
) -> NDArray[np.bool_]:
    predicted = predictions(probabilities, classes, positive=positive, threshold=threshold)
    return np.array(
        [classes[index] == label for index, label in zip(predicted, part.labels, strict=True)],
        dtype=bool,
    )


def _unsure(inputs: ReportInputs, threshold: float | None) -> dict[str, Any] | None:
    """The reject band or confidence floor, and its effect on the test rows."""
    if inputs.unsure is None:
        return None
    result: dict[str, Any] = asdict(inputs.unsure)
    if inputs.test is not None and len(inputs.test.labels):
        scores = np.asarray(inputs.test.probabilities, dtype=np.float64)
        if isinstance(inputs.unsure, ConfidenceFloor):
            inside = scores.max(axis=1) < inputs.unsure.value
        else:
            own = scores[:, list(inputs.classes).index(str(inputs.positive))]
            inside = (own >= inputs.unsure.low) & (own <= inputs.unsure.high)
        right = _correct(inputs.test, scores, inputs.classes, inputs.positive, threshold)
        result["test_share"] = float(inside.mean())
        result["test_errors_inside"] = int((inside & ~right).sum())
        result["test_error_rate_outside"] = (
            float((~right[~inside]).mean()) if (~inside).any() else None
        )
    return result
