"""report.html: a self-contained HTML report for phone, printer and offline use.

This module prepares the values; the numbers are those of report.json. In `templates`,
`report_body.html.j2` has the text and `report_style.css` the style, both for the page and for a
notebook: every rule of the style begins with the class of the report, so it changes nothing else in
a notebook, and colours come from the notebook's theme. There are no scripts and no external files:
plots are data URIs, and Jinja escapes all external text.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.decision.out_of_distribution import ood_sentence
from tamis.evaluation.fold_spread import folds_sentence
from tamis.evaluation.report.report import mcnemar_sentence
from tamis.evaluation.robustness import PerturbationResult, robustness_rows
from tamis.files import replaced

if TYPE_CHECKING:
    from jinja2 import Template

# (key, heading, shown as a percentage); accuracy comes last, because it is misleading for
# imbalanced classes.
_BINARY = (
    ("f1", "F1", False),
    ("recall", "Recall", True),
    ("false_positive_rate", "False positive rate ({negative} blocked)", True),
    ("precision", "Precision", True),
    ("average_precision", "Average precision", False),
    ("mcc", "MCC", False),
    ("ece", "ECE", False),
    ("brier", "Brier", False),
    ("accuracy", "Accuracy", True),
)
_MULTI = (
    ("f1", "F1 (macro)", False),
    ("balanced_accuracy", "Balanced accuracy", True),
    ("mcc", "MCC", False),
    ("precision", "Precision (macro)", True),
    ("average_precision", "Average precision (macro)", False),
    ("ece", "ECE", False),
    ("brier", "Brier", False),
    ("accuracy", "Accuracy", True),
)
_NAMES = {"tfidf": "TF-IDF + logistic regression", "majority": "Majority class"}
_PLOTS = {
    "precision_recall": "Precision-recall curve",
    "confusion": "Confusion matrix",
    "calibration": "Calibration: predicted probability and observed frequency",
    "robustness": "Robustness: results under each perturbation at the model's threshold, with 95 % "
    "intervals",
    "loss": "Loss by training step",
    "accuracy": "Accuracy by training step",
}
_TEXT_LIMIT = 600  # characters of a listed text; predictions.jsonl contains the whole text


def write_html(
    path: str | Path,
    report: Mapping[str, Any],
    plots: Mapping[str, Path] | None = None,
    examples: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write the HTML page of a report of `build_report` atomically and return its path.

    `plots` are PNG files by name; `examples` are the rows of `most_confident_mistakes`.
    """
    path = Path(path)
    page = render(report, plots or {}, examples)
    with replaced(path) as beside:
        # A lone surrogate in a text cannot be written as UTF-8; the page shows a replacement.
        beside.write_bytes(page.encode("utf-8", errors="replace"))
    return path


def render(
    report: Mapping[str, Any],
    plots: Mapping[str, Path],
    examples: Sequence[Mapping[str, Any]],
    *,
    notebook: bool = False,
) -> str:
    """Return the page as a string, or for a notebook a part of a page; arguments as for
    `write_html`.
    """
    part = "test" if report["test"] else "validation"
    judged = report[part]
    found = report.get("ood")
    return _template("report_notebook.html.j2" if notebook else "report.html.j2").render(
        title=_title(report),
        subtitle=_subtitle(report),
        warnings=report["warnings"],
        cards=_cards(report, part) if judged else [],
        note=_note(report, part) if judged else "",
        folds=folds_sentence(report.get("folds")),
        models=_models(report),
        baselines=report["baselines"],
        mcnemar=mcnemar_sentence(report),
        columns=columns(report),
        figure_text=figure_text,
        threshold=[*_threshold(report), *report["notes"]],
        plots=_plots(plots),
        robustness=_robustness(report),
        ood={"sentence": ood_sentence(found), "examples": found["examples"]} if found else None,
        text_limit=_TEXT_LIMIT,
        per_class=judged["per_class"] if judged else [],
        confusions=report.get("confusions"),
        mistakes=[_mistake(example) for example in examples],
        facts={"Timing": _facts(report["timing"]), "Versions": _facts(report["versions"])},
    )


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template(name)


def figure_text(figures: Mapping[str, Any] | None, key: str, percent: bool) -> tuple[str, str]:
    """Format a metric and its 95 % interval; a dash if it is undefined."""
    value = figures.get(key) if figures else None
    if value is None or figures is None:
        return "-", ""
    interval = (figures.get("ci95") or {}).get(key)

    def shown(number: float) -> str:
        if not percent:
            return f"{number:.3f}"
        return f"{100 * number:.2f}" if 0 < number < 0.1 else f"{100 * number:.1f}"

    unit = " %" if percent else ""
    return shown(
        value
    ) + unit, f"{shown(interval[0])} to {shown(interval[1])}{unit}" if interval else ""


def columns(report: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """The metrics to show, in order: key, heading, whether it is a percentage."""
    binary = report["positive"] is not None and len(report["classes"]) == 2
    negative = negative_name(report)
    return [
        (key, name.format(negative=negative), percent)
        for key, name, percent in (_BINARY if binary else _MULTI)
    ]


def negative_name(report: Mapping[str, Any]) -> str:
    """The negative class of two classes; empty for K classes."""
    others = [name for name in report["classes"] if name != report["positive"]]
    return str(others[0]) if len(others) == 1 else ""


def _title(report: Mapping[str, Any]) -> str:
    title = f"{report['data'] or 'Report'}: {' / '.join(map(str, report['classes'][:6]))}"
    more = len(report["classes"]) - 6
    return f"{title} and {more} more classes" if more > 0 else title


def _subtitle(report: Mapping[str, Any]) -> str:
    parts = [f"{name} {report[name]}" for name in ("backbone", "tune", "split")]
    counts = ", ".join(
        f"{count:,} {name}" for name, count in report["rows"].items() if isinstance(count, int)
    )
    return " · ".join([*parts, f"rows: {counts}"] if counts else parts)


def _cards(report: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    """The first three metrics, each with its interval and the values of the baselines."""
    cards = []
    for key, name, percent in columns(report)[:3]:
        value, interval = figure_text(report[part], key, percent)
        lines = [f"95 % interval: {interval}"] if interval else []
        lines += [
            f"{_NAMES.get(other, other).split(' + ')[0]} "
            f"{figure_text(report['baselines'][other], key, percent)[0]}"
            for other in ("tfidf", "majority")
            if part == "test" and other in report["baselines"]
        ]
        cards.append({"name": name, "value": value, "lines": lines})
    return cards


def _note(report: Mapping[str, Any], part: str) -> str:
    positive = (
        f"; the positive class is {report['positive']!r}" if report["positive"] is not None else ""
    )
    return f"On {report[part]['n']:,} {part} rows{positive}."


def _models(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Metrics by model, in the order of the columns of the comparison."""
    models = {"Model": report["test"]} if report["test"] else {}
    others = sorted(report["baselines"], key=lambda name: (name == "majority", name))
    models |= {_NAMES.get(name, name): report["baselines"][name] for name in others}
    if report["validation"]:
        models["Model, validation rows"] = report["validation"]
    return models


def _threshold(report: Mapping[str, Any]) -> list[str]:
    sentences = []
    choice, unsure = report["threshold_choice"], report["unsure"]
    if report["threshold"] is not None:
        how = f" (rule: {choice['rule']})" if choice else ""
        sentences.append(
            f"The label is {report['positive']!r} if its probability is at least "
            f"{report['threshold']:.4g}{how}."
        )
    if choice:
        sentences.append(
            "On the rows that chose the threshold, the recall is "
            f"{100 * choice['recall']:.1f} % and the false positive rate "
            f"({negative_name(report)} blocked) {100 * choice['false_positive_rate']:.2f} %, "
            f"with an upper 95 % bound of {100 * choice['false_positive_rate_upper95']:.2f} %."
        )
    if unsure:
        where = (
            f"between {unsure['low']:.3g} and {unsure['high']:.3g}"
            if "low" in unsure
            else f"below {unsure['value']:.3g} for every class"
        )
        sentences.append(f"The verdict is 'unsure' if the probability is {where}.")
        if unsure.get("test_share") is not None:
            outside = unsure["test_error_rate_outside"]
            rest = (
                f"; the error rate of the other rows is {100 * outside:.2f} %"
                if outside is not None
                else ""
            )
            sentences.append(
                f"This applies to {100 * unsure['test_share']:.1f} % of the test rows, among them "
                f"{unsure['test_errors_inside']} errors{rest}."
            )
    if report["temperature"] is not None:
        sentences.append(
            f"The weights include a calibration temperature of {report['temperature']:.3g}."
        )
    return sentences


def _plots(plots: Mapping[str, Path]) -> list[tuple[str, str]]:
    """Caption and base64 of each plot: the known ones first, in their order."""
    names = [name for name in _PLOTS if name in plots]
    names += [name for name in plots if name not in _PLOTS]
    return [
        (_PLOTS.get(name, name), base64.b64encode(Path(plots[name]).read_bytes()).decode("ascii"))
        for name in names
    ]


def _robustness(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of the results under each perturbation."""
    if not report.get("robustness"):
        return None
    return robustness_rows([PerturbationResult(**result) for result in report["robustness"]])


def _mistake(example: Mapping[str, Any]) -> dict[str, Any]:
    text = str(example["text"])
    if len(text) > _TEXT_LIMIT:
        text = text[:_TEXT_LIMIT] + f" … ({len(text):,} characters)"
    return {**example, "text": text}


def _facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        lines.append((name, f"{value:,.2f}" if isinstance(value, float) else str(value)))
    return lines
