"""report.html: a self-contained HTML report for phone, printer and offline use.

This module defines texts and style of the page; the numbers are those of report.json. The page has
no scripts and no external files: plots are data URIs, and all external text is escaped.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from tamis.decision.out_of_distribution import ood_sentence
from tamis.evaluation.fold_spread import folds_sentence
from tamis.evaluation.report.confusion import confusions_table, per_class_table
from tamis.evaluation.report.report import mcnemar_sentence
from tamis.evaluation.robustness import PerturbationResult, robustness_rows

CSS = """
:root{--ink:#1c1f23;--soft:#5c6670;--line:#dfe3e8;--blue:#0072b2;--warn:#fff3e6;--edge:#d55e00}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.25rem;color:var(--ink);background:#fff}
body{font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:.2rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
p{margin:.5rem 0}
.soft{color:var(--soft)}
.cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}
.card{flex:1 1 11rem;border:1px solid var(--line);border-top:4px solid var(--blue)}
.card{border-radius:6px;padding:.7rem .9rem}
.card b{display:block;font-size:1.9rem;line-height:1.2}
.card small{display:block;color:var(--soft)}
.warning{background:var(--warn);border-left:5px solid var(--edge);border-radius:4px}
.warning{padding:.6rem .9rem;margin:1rem 0}
.warning ul{margin:.3rem 0;padding-left:1.2rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th:first-child,td:first-child,.text{text-align:left}
td small{display:block;color:var(--soft);white-space:nowrap}
.figures td:nth-child(2){font-weight:600}
.figures small{font-weight:400}
.number{white-space:nowrap}
td.text{overflow-wrap:anywhere;min-width:14rem;white-space:pre-wrap}
figure{margin:0}
figcaption{color:var(--soft);font-size:.9rem}
img{max-width:100%;height:auto}
.plots{columns:2 19rem;column-gap:1.5rem}
.plots figure{break-inside:avoid;margin-bottom:1.2rem}
pre{background:#f5f7f9;border-radius:6px;padding:.8rem;overflow-x:auto;font-size:.88rem}
@media print{body{max-width:none;padding:0;font-size:11pt}
.card,figure,tr,.warning{break-inside:avoid}
.scroll{overflow:visible}
}
"""


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
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    # A lone surrogate in a text cannot be written as UTF-8; the page shows a replacement.
    beside.write_bytes(page.encode("utf-8", errors="replace"))
    os.replace(beside, path)
    return path


def render(
    report: Mapping[str, Any], plots: Mapping[str, Path], examples: Sequence[Mapping[str, Any]]
) -> str:
    """Return the page as a string; arguments as for `write_html`."""
    title = f"{report['data'] or 'Report'}: {' / '.join(map(str, report['classes'][:6]))}"
    if len(report["classes"]) > 6:
        title += f" and {len(report['classes']) - 6} more classes"
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="soft">backbone {_text(report["backbone"])} · tune {_text(report["tune"])} '
        "· split "
        f"{_text(report['split'])}"
        f"{_text(_rows(report))}</p>",
        _warnings(report),
        _headline(report),
        _comparison(report),
        _threshold(report),
        _figures(plots),
        _robustness(report),
        _ood(report),
        per_class_table(report, figure_text),
        confusions_table(report),
        _mistakes(examples),
        _facts(report),
        _usage(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{CSS}</style></head>\n<body>\n"
        + "\n".join(filter(None, body))
        + "\n</body></html>\n"
    )


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


def _text(value: Any) -> str:
    return escape(str(value), quote=True)


def _rows(report: Mapping[str, Any]) -> str:
    counts = ", ".join(
        f"{count:,} {name}" for name, count in report["rows"].items() if isinstance(count, int)
    )
    return f" · rows: {counts}" if counts else ""


def _warnings(report: Mapping[str, Any]) -> str:
    items = "".join(f"<li>{_text(sentence)}</li>" for sentence in report["warnings"])
    return (
        f'<div class="warning" role="alert"><strong>Warnings</strong><ul>{items}</ul></div>'
        if items
        else ""
    )


def _headline(report: Mapping[str, Any]) -> str:
    judged, part = (
        (report["test"], "test") if report["test"] else (report["validation"], "validation")
    )
    folds = folds_sentence(report.get("folds"))
    if not judged and folds:
        return f"<p>{_text(folds)}</p>"
    if not judged:
        return (
            "<p>There are no metrics, because no rows were held out. To evaluate the model on "
            "other labelled rows, use <code>tamis evaluate</code>.</p>"
        )
    cards = []
    for key, name, percent in columns(report)[:3]:
        value, interval = figure_text(judged, key, percent)
        beside = [
            f"{_NAMES.get(other, other).split(' + ')[0]} "
            f"{figure_text(report['baselines'][other], key, percent)[0]}"
            for other in ("tfidf", "majority")
            if part == "test" and other in report["baselines"]
        ]
        lines = [f"95 % interval: {interval}"] if interval else []
        lines += beside
        small = "".join(f"<small>{_text(line)}</small>" for line in lines)
        cards.append(f'<div class="card">{_text(name)}<b>{_text(value)}</b>{small}</div>')
    positive = (
        f"; the positive class is {report['positive']!r}" if report["positive"] is not None else ""
    )
    note = f"On {judged['n']:,} {part} rows{positive}."
    return (
        f'<div class="cards">{"".join(cards)}</div><p class="soft">{_text(note)} {_text(folds)}</p>'
    )


def _comparison(report: Mapping[str, Any]) -> str:
    """A table with metrics as rows and models as columns; it is narrow enough for a phone."""
    beside = {"Model": report["test"]} if report["test"] else {}
    others = sorted(report["baselines"], key=lambda name: (name == "majority", name))
    beside |= {_NAMES.get(name, name): report["baselines"][name] for name in others}
    if report["validation"]:
        beside["Model, validation rows"] = report["validation"]
    if not beside:
        return ""
    lines = []
    for key, heading, percent in columns(report):
        cells = [figure_text(figures, key, percent) for figures in beside.values()]
        tds = "".join(
            f"<td>{_text(value)}<small>{_text(interval)}</small></td>" for value, interval in cells
        )
        lines.append(f"<tr><td>{_text(heading)}</td>{tds}</tr>")
    head = "".join(f"<th>{_text(name)}</th>" for name in beside)
    sentence = mcnemar_sentence(report)
    baselines = (
        " Baselines are evaluated on the same test rows with threshold 0.5." if others else ""
    )
    return (
        f"<h2>{'Comparison with baselines' if others else 'Metrics'}</h2>"
        + (f"<p>{_text(sentence)}</p>" if sentence else "")
        + f'<div class="scroll"><table class="figures"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        '<p class="soft">Small numbers are 95 % intervals: Wilson for proportions, bootstrap for '
        f"other metrics.{baselines} A dash means that the metric is not defined on these rows.</p>"
    )


def _threshold(report: Mapping[str, Any]) -> str:
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
    sentences += report["notes"]
    if not sentences:
        return ""
    return "<h2>Threshold and verdicts</h2>" + "".join(
        f"<p>{_text(sentence)}</p>" for sentence in sentences
    )


def _figures(plots: Mapping[str, Path]) -> str:
    shown = []
    for name in [
        *[name for name in _PLOTS if name in plots],
        *[name for name in plots if name not in _PLOTS],
    ]:
        data = base64.b64encode(Path(plots[name]).read_bytes()).decode("ascii")
        caption = _text(_PLOTS.get(name, name))
        shown.append(
            f'<figure><img alt="{caption}" '
            f'src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
        )
    return f'<h2>Plots</h2><div class="plots">{"".join(shown)}</div>' if shown else ""


def _robustness(report: Mapping[str, Any]) -> str:
    """The results under each perturbation."""
    if not report.get("robustness"):
        return ""
    header, rows = robustness_rows(
        [PerturbationResult(**result) for result in report["robustness"]]
    )
    cells = "".join(
        f'<tr><td>{_text(row[0])}</td><td class="text">{_text(row[1])}</td>'
        + "".join(f'<td class="number">{_text(cell)}</td>' for cell in row[2:])
        + "</tr>"
        for row in rows
    )
    names = f'<th>{_text(header[0])}</th><th class="text">{_text(header[1])}</th>' + "".join(
        f"<th>{_text(name)}</th>" for name in header[2:]
    )
    return (
        "<h2>Robustness</h2><p>Results on the same rows under each perturbation, at the model's "
        "threshold.</p>"
        f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{cells}</tbody></table>'
        "</div>"
    )


def _ood(report: Mapping[str, Any]) -> str:
    """Out-of-distribution test texts."""
    found = report.get("ood")
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{one['bits_per_byte']:.2f}</td><td>{_text(one['label'])}</td>"
        f'<td class="text">{_text(one["text"][:_TEXT_LIMIT])}</td></tr>'
        for one in found["examples"]
    )
    header = '<th>bits per byte</th><th>label</th><th class="text">text</th>'
    table = f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<h2>Out-of-distribution texts</h2><p>{_text(ood_sentence(found))}</p>" + (
        table if rows else ""
    )


def _mistakes(examples: Sequence[Mapping[str, Any]]) -> str:
    if not examples:
        return ""
    lines = []
    for example in examples:
        text = str(example["text"])
        text = (
            text
            if len(text) <= _TEXT_LIMIT
            else text[:_TEXT_LIMIT] + f" … ({len(text):,} characters)"
        )
        lines.append(
            f"<tr><td>{_text(example['label'])}</td><td>{_text(example['predicted'])}</td>"
            f'<td>{example["probability"]:.3f}</td><td class="text">{_text(text)}</td></tr>'
        )
    return (
        "<h2>Most confident mistakes</h2><p class='soft'>Wrong predictions with the highest "
        "probability. Some of them may be label errors.</p>"
        '<div class="scroll"><table><thead><tr><th>label</th><th>predicted</th>'
        '<th>probability</th><th class="text">text</th></tr>'
        f"</thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _facts(report: Mapping[str, Any]) -> str:
    def table(heading: str, values: Mapping[str, Any]) -> str:
        lines = []
        for name, value in values.items():
            if isinstance(value, Mapping):
                value = ", ".join(f"{key} {item}" for key, item in value.items())
            shown = f"{value:,.2f}" if isinstance(value, float) else value
            lines.append(f'<tr><td>{_text(name)}</td><td class="text">{_text(shown)}</td></tr>')
        return f"<h2>{heading}</h2><table><tbody>{''.join(lines)}</tbody></table>" if lines else ""

    return table("Timing", report["timing"]) + table("Versions", report["versions"])


def _usage(report: Mapping[str, Any]) -> str:
    lines = [
        "# on the command line; RUN is the folder of this report",
        'tamis predict RUN "a text"',
        'tamis explain RUN "a text"',
        "",
        "# in Python",
        "from tamis import TextClassifier",
        'model = TextClassifier.load("RUN")',
        'model.predict(["a text"])',
    ]
    return f"<h2>Use the model</h2><pre>{_text(chr(10).join(lines))}</pre>"
