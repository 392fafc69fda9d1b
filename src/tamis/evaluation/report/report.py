"""report.json: every figure of a run in one dictionary, with the warnings that belong to it.

Owns the keys of report.json and the list of mistakes; the page is render_html.py, the model card is
model_card.py. Sources: DESIGN section 3; Mitchell et al. 2019 (model cards) for what has to stand
beside a figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.decision.calibration import Calibration
from tamis.decision.thresholds import ConfidenceFloor, RejectBand, Threshold
from tamis.errors import DataError
from tamis.evaluation.metrics import collapse_warnings, figures, mcnemar, predictions
from tamis.evaluation.report.confusion import confusions


@dataclass(frozen=True)
class Part:
    """One part: N labels, probabilities (N, K) in the order of the classes, texts where mistakes
    are to be shown.
    """

    labels: Sequence[str]
    probabilities: NDArray[Any]
    texts: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """What a report is made of. Everything but the first five may be absent: an evaluation has no
    training behind it.

    `rows` counts the rows per part, `baselines` are probabilities (N, K) on the test rows by name,
    `timing` holds seconds per phase by name (and messages per second, device, dtype), `temperature`
    the one that is folded into the weights.
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


def build_report(inputs: ReportInputs, *, bootstrap: int = 1000, seed: int = 42) -> dict[str, Any]:
    """The content of report.json: plain dicts, lists, strings, finite numbers and None only.

    `test` and `validation` hold the keys of `metrics.figures` (None where the part is absent),
    `baselines` the same per baseline, cut at 0.5, on the test rows. `threshold` is the number in
    use (None for K classes), `threshold_choice` how it was found. `confusions` are the commonest
    mistakes between K > 2 classes. `mcnemar` compares with `tfidf` on the test rows. `warnings` are
    sentences to show on top, `notes` beside.

    Raises:
        DataError, ConfigError: as `metrics.figures`; DataError also where a baseline's rows are not
            the test rows.
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
                    "TF-IDF with logistic regression makes fewer mistakes on the same rows, "
                    "beyond chance."
                )
    notes = list(inputs.notes)
    if isinstance(inputs.threshold, Threshold):
        (notes if inputs.threshold.resolved else warnings).extend(inputs.threshold.notes)
    if inputs.calibration is not None:
        notes += inputs.calibration.notes
    temperature = inputs.temperature
    if temperature is None and inputs.calibration is not None:
        temperature = inputs.calibration.temperature
    report = {
        "data": inputs.data,
        "rows": dict(inputs.rows),
        "classes": list(inputs.classes),
        "positive": inputs.positive,
        "split": inputs.split,
        "backbone": inputs.backbone,
        "tune": inputs.tune,
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
    return plain


def most_confident_mistakes(
    part: Part,
    classes: Sequence[str],
    *,
    positive: str | None,
    threshold: float | None,
    limit: int = 20,
) -> list[dict[str, Any]]:
    """At most `limit` wrong rows, those the model was surest of: row (from 0), label, predicted,
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
    """McNemar's test in words; empty where there was nothing to compare with."""
    paired = report.get("mcnemar")
    if not paired:
        return ""
    model, other, p = paired["model_only_wrong"], paired["other_only_wrong"], paired["p_value"]
    if model == other == 0:
        return "The model and TF-IDF are wrong on exactly the same rows."
    counts = (
        f"Of the rows that only one of the two gets wrong, the model has {model:,} and TF-IDF "
        f"{other:,} "
        f"(McNemar's exact test, {'p < 0.001' if p < 0.001 else f'p = {p:.2g}'})"
    )
    if p >= 0.05:
        return f"{counts}: these rows cannot tell the two apart."
    return (
        f"{counts}: the {'model' if model < other else 'TF-IDF baseline'} is better, beyond chance."
    )


def json_safe(value: Any) -> Any:
    """The same as plain Python: NumPy values unpacked, tuples as lists, NaN and infinities as
    None.
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
    """The band or floor as chosen on held-out rows, and what it does on the test rows."""
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
