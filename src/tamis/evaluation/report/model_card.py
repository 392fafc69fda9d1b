"""The model card (README.md of a model folder): description, metrics, limitations, usage.

This module defines the texts and the Hugging Face front matter; the numbers are those of
report.json. Source: https://huggingface.co/docs/hub/model-cards (front matter and model-index).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.evaluation.fold_spread import folds_sentence
from tamis.evaluation.report.figure_columns import columns, figure_text, negative_name
from tamis.evaluation.report.page_facts import origin_of_test_rows
from tamis.evaluation.report.report import mcnemar_sentence

_HUB_METRICS = ("f1", "recall", "precision", "accuracy")
EXAMPLES = ("A text to classify.",)
"""Texts that the hub's page offers for trying out the model. No row of the data is published."""


def model_card(
    report: Mapping[str, Any],
    *,
    name: str = "model",
    license: str | None = None,
    examples: Sequence[str] = EXAMPLES,
) -> str:
    """The model card as Markdown, for a report of `build_report`.

    Args:
        report: what is known about the model.
        name: name of the model in the title and in the examples: a folder, or a repository of the
            hub.
        license: identifier of the hub, such as `mit`; by default `unknown`.
        examples: texts for the page of the hub.
    """
    judged, part = (
        (report["test"], "test") if report["test"] else (report["validation"], "validation")
    )
    sections = [
        _front_matter(report, judged, name, license, examples),
        f"# {_line(name)}",
        _intro(report),
        _warnings(report),
        _figures(report, judged, part),
        _decision(report),
        _limits(report, judged, part),
        _loading(name),
        _versions(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(
    report: Mapping[str, Any],
    evaluated: Mapping[str, Any] | None,
    name: str,
    license: str | None,
    examples: Sequence[str],
) -> str:
    # JSON strings are valid YAML strings, whatever labels and file names contain.
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        f"license: {json.dumps(license or 'unknown')}",
    ]
    if examples:
        lines += ["widget:", *(f"- text: {json.dumps(text)}" for text in examples)]
    lines += ["tags:", "- tamis", "- gpt2", "- text-classification", "metrics:"]
    lines += [f"- {metric}" for metric in _HUB_METRICS]
    values = [
        (metric, evaluated[metric])
        for metric in _HUB_METRICS
        if evaluated and evaluated[metric] is not None
    ]
    if values:
        lines += [
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            "  - task:",
            "      type: text-classification",
            "    dataset:",
            f"      name: {json.dumps(report['data'] or 'unknown')}",
            f"      type: {json.dumps(_identifier(report['data']))}",
            "    metrics:",
        ]
        for metric, value in values:
            lines += [f"    - type: {metric}", f"      value: {value!r}"]
    return "\n".join([*lines, "---"])


def _identifier(name: str | None) -> str:
    """Return the name of a data set in the characters that the hub allows for its identifier."""
    return re.sub(r"[^\w.-]+", "-", name or "", flags=re.ASCII).strip("-.") or "unknown"


def _intro(report: Mapping[str, Any]) -> str:
    classes = ", ".join(f"`{_line(label)}`" for label in report["classes"])
    positive = (
        f" The positive class is `{_line(report['positive'])}`."
        if report["positive"] is not None
        else ""
    )
    rows = ", ".join(
        f"{count:,} {part}" for part, count in report["rows"].items() if isinstance(count, int)
    )
    origin, place = origin_of_test_rows(report)
    return (
        f"A GPT-2 text classifier trained with tamis. Classes: {classes}.{positive}\n\n"
        f"| | |\n|---|---|\n| data | {_cell(report['data'] or 'unknown')} |\n| rows | "
        f"{_cell(rows or 'unknown')} |\n"
        f"| {origin} | {_cell(place)} |\n| backbone | {_cell(report['backbone'])} |\n| "
        "tune | "
        f"{_cell(report['tune'])} |"
    )


def _warnings(report: Mapping[str, Any]) -> str:
    return "\n".join(
        f"> **Warning:** {_line(sentence)}\n>" for sentence in report["warnings"]
    ).removesuffix("\n>")


def _figures(report: Mapping[str, Any], evaluated: Mapping[str, Any] | None, part: str) -> str:
    folds = folds_sentence(report.get("folds"))
    if not evaluated:
        none = "There are no metrics, because no rows were held out."
        return f"## Evaluation\n\n{folds or none}"
    others = (
        sorted(report["baselines"], key=lambda other: (other == "majority", other))
        if part == "test"
        else []
    )
    beside = {"model": evaluated, **{other: report["baselines"][other] for other in others}}
    head = "| | " + " | ".join(_cell(name) for name in beside) + " |\n|---|" + "---|" * len(beside)
    lines = []
    for key, heading, percent in columns(report):
        cells = []
        for figures in beside.values():
            value, interval = figure_text(figures, key, percent)
            cells.append(f"{value} ({interval})" if interval else value)
        lines.append(f"| {_cell(heading)} | " + " | ".join(cells) + " |")
    sentence = mcnemar_sentence(report)
    told = " ".join(map(_line, (report.get("summary") or {}).get("sentences", [])))
    return (
        "## Evaluation\n\n"
        + (f"{told}\n\n" if told else "")
        + f"Metrics on {evaluated['n']:,} {part} rows, with 95 % intervals. `tfidf` "
        "is TF-IDF with logistic regression; `majority` always predicts the most frequent class."
        f"\n\n{head}\n"
        + "\n".join(lines)
        + "".join(f"\n\n{text}" for text in (sentence, folds) if text)
    )


def _decision(report: Mapping[str, Any]) -> str:
    sentences = []
    if report["threshold"] is not None:
        rule = (
            f" (rule: {report['threshold_choice']['rule']})" if report["threshold_choice"] else ""
        )
        sentences.append(
            f"The label is `{_line(report['positive'])}` if its probability is at least "
            f"{report['threshold']:.4g}{rule}."
        )
    if report["unsure"]:
        unsure = report["unsure"]
        where = (
            f"from {unsure['low']:.3g} to {unsure['high']:.3g}"
            if "low" in unsure
            else f"below {unsure['value']:.3g} for every class"
        )
        sentences.append(f"The verdict is `unsure` if the probability is {where}.")
    if report["threshold"] is not None or report["unsure"]:
        sentences.append(
            "transformers does not apply these rules: it returns probabilities, and the label with "
            "the highest probability."
        )
    sentences += [_line(note) for note in report["notes"]]
    return "## Threshold and verdicts\n\n" + "\n".join(sentences) if sentences else ""


def _limits(report: Mapping[str, Any], evaluated: Mapping[str, Any] | None, part: str) -> str:
    items = [
        "The metrics apply to texts similar to the training data. Texts from other sources, years "
        "or languages can give other results.",
        "The language of the data was not determined.",
        "Texts that are written to evade the classifier can give worse results.",
    ]
    blocked = (evaluated or {}).get("ci95", {}).get("false_positive_rate")
    if blocked:
        items.append(
            f"With {evaluated['n'] if evaluated else 0:,} {part} rows, the true false positive "
            f"rate (share of `{_line(negative_name(report))}` that is blocked) can be as high as "
            f"{100 * blocked[1]:.2f} % (upper bound of the 95 % interval)."
        )
    return "## Limitations\n\n" + "\n".join(f"- {item}" for item in items)


def _loading(name: str) -> str:
    quoted = json.dumps(name, ensure_ascii=False)
    return f"""## Usage

```python
from tamis import TextClassifier

model = TextClassifier.from_pretrained({quoted})
model.predict(["a text"])
```

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({quoted})
model = AutoModelForSequenceClassification.from_pretrained({quoted})
logits = model(**tokenizer("a text", return_tensors="pt")).logits
```"""


def _versions(report: Mapping[str, Any]) -> str:
    pairs = ", ".join(f"{package} {version}" for package, version in report["versions"].items())
    return f"Versions: {_line(pairs)}." if pairs else ""


def _line(value: Any) -> str:
    """Convert to one line of Markdown without HTML."""
    return " ".join(str(value).split()).replace("<", "&lt;")


def _cell(value: Any) -> str:
    return _line(value).replace("|", "\\|")
