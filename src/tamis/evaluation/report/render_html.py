"""report.html: a self-contained HTML report for phone, printer and offline use.

This module prepares the values; the numbers are those of report.json. In `templates`,
`report_body.html.j2` has the text and `report_style.css` the style, both for the page and for a
notebook: every rule of the style begins with the class of the report, so it changes nothing else in
a notebook, and colours come from the notebook's theme. The page alone has a script,
`report_script.js`, for the slider and the filter; its content security policy allows this script
and nothing from outside. Plots are data URIs, and Jinja escapes all external text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.decision.out_of_distribution import ood_sentence
from tamis.evaluation.fold_spread import folds_sentence
from tamis.evaluation.report.figure_columns import NAMES, columns, figure_text
from tamis.evaluation.report.page_facts import header_facts, timing_facts, title_of
from tamis.evaluation.report.page_plots import page_plots
from tamis.evaluation.report.report import mcnemar_sentence
from tamis.evaluation.report.threshold_sentences import threshold_sentences
from tamis.evaluation.robustness import PerturbationResult, robustness_rows
from tamis.files import replaced

if TYPE_CHECKING:
    from jinja2 import Template

MOST_MISTAKES = 500
"""Mistakes that the page lists; predictions.jsonl has all of them."""
_TEXT_LIMIT = 600  # characters of a listed text; predictions.jsonl contains the whole text
_TEMPLATES = Path(__file__).parent / "templates"


def write_html(
    path: str | Path,
    report: Mapping[str, Any],
    plots: Mapping[str, Path] | None = None,
    examples: Sequence[Mapping[str, Any]] = (),
    live: Mapping[str, Any] | None = None,
) -> Path:
    """Write the HTML page of a report of `build_report` atomically and return its path.

    `plots` are PNG files by name; `examples` are the rows of `most_confident_mistakes`, `live` the
    scores of `live_scores`.
    """
    path = Path(path)
    page = render(report, plots or {}, examples, live=live)
    with replaced(path) as beside:
        # A lone surrogate in a text cannot be written as UTF-8; the page shows a replacement.
        beside.write_bytes(page.encode("utf-8", errors="replace"))
    return path


def render(
    report: Mapping[str, Any],
    plots: Mapping[str, Path],
    examples: Sequence[Mapping[str, Any]],
    *,
    live: Mapping[str, Any] | None = None,
    notebook: bool = False,
) -> str:
    """Return the page as a string, or for a notebook a part of a page, without script; arguments as
    for `write_html`.
    """
    part = "test" if report["test"] else "validation"
    judged = report[part]
    found = report.get("ood")
    script = (_TEMPLATES / "report_script.js").read_text(encoding="utf-8")
    return _template("report_notebook.html.j2" if notebook else "report.html.j2").render(
        title=title_of(report),
        header=header_facts(report),
        summary=report.get("summary"),
        next_steps=report.get("next_steps") or [],
        warnings=report["warnings"],
        cards=_cards(report, part) if judged else [],
        note=_note(report, part) if judged else "",
        folds=folds_sentence(report.get("folds")),
        models=_models(report),
        baselines=report["baselines"],
        mcnemar=mcnemar_sentence(report),
        columns=columns(report),
        figure_text=figure_text,
        threshold=[*threshold_sentences(report), *report["notes"]],
        live=None if notebook else live,
        scores="" if notebook or live is None else _script_json(live),
        interactive=not notebook,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        plots=page_plots(plots),
        robustness=_robustness(report),
        ood={"sentence": ood_sentence(found), "examples": list(map(_listed, found["examples"]))}
        if found
        else None,
        per_class=judged["per_class"] if judged else [],
        confusions=report.get("confusions"),
        mistakes=list(map(_listed, examples)),
        mistakes_in_all=_mistakes_in_all(judged),
        kinds=_kinds(examples),
        facts={
            "Time and machine": timing_facts(report["timing"]),
            "Versions": list(report["versions"].items()),
        },
    )


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template(name)


def _script_json(value: Any) -> str:
    """JSON for a script element, with `<`, `>` and `&` escaped: no text in it ends the element."""
    text = json.dumps(value, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _cards(report: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    """The first three metrics, each with its interval and the values of the baselines."""
    cards = []
    for key, name, percent in columns(report)[:3]:
        value, interval = figure_text(report[part], key, percent)
        lines = [f"95 % interval: {interval}"] if interval else []
        lines += [
            f"{NAMES.get(other, other).split(' + ')[0]} "
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
    models |= {NAMES.get(name, name): report["baselines"][name] for name in others}
    if report["validation"]:
        models["Model, validation rows"] = report["validation"]
    return models


def _robustness(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of the results under each perturbation."""
    if not report.get("robustness"):
        return None
    return robustness_rows([PerturbationResult(**result) for result in report["robustness"]])


def _listed(example: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its text as a page can show it: HTML has no NUL, and long texts are cut."""
    text = str(example["text"]).replace("\0", "\ufffd")
    if len(text) > _TEXT_LIMIT:
        text = text[:_TEXT_LIMIT] + f" … ({len(text):,} characters)"
    return {**example, "text": text}


def _mistakes_in_all(judged: Mapping[str, Any] | None) -> int:
    if not judged:
        return 0
    counts: list[list[int]] = judged["confusion"]
    return sum(map(sum, counts)) - sum(row[place] for place, row in enumerate(counts))


def _kinds(examples: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """How many of the mistakes have each pair of label and prediction, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for example in examples:
        pair = (str(example["label"]), str(example["predicted"]))
        counts[pair] = counts.get(pair, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
