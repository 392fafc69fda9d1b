"""Verdicts as HTML for a notebook, and the frame that other views of this kind share.

Every rule of the style begins with the class of the frame, so nothing else in a notebook changes.
Text has the colour of the notebook's theme; lines and shades are half transparent, so that they can
be seen on a light and on a dark ground. All external text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from markupsafe import Markup, escape

SHOWN = 20
"""Rows of a list that are shown."""
_TEXT_LIMIT = 300
"""Characters of a text that are shown."""
_STYLE = """
.tamis-view{font:14px/1.5 system-ui,sans-serif;color:inherit;max-width:60rem}
.tamis-view b{font-weight:600}
.tamis-view .soft{opacity:.72}
.tamis-view p{margin:.3rem 0}
.tamis-view table{border-collapse:collapse;margin:.4rem 0;color:inherit}
.tamis-view table{font-size:inherit;font-variant-numeric:tabular-nums}
.tamis-view tr{background:none}
.tamis-view th,.tamis-view td{border:0;border-bottom:1px solid rgba(128,128,128,.35)}
.tamis-view th,.tamis-view td{padding:.25rem .7rem;text-align:left;vertical-align:top}
.tamis-view th{font-weight:600;white-space:nowrap}
.tamis-view td.text{overflow-wrap:anywhere;white-space:pre-wrap;min-width:14rem}
.tamis-view td.number{text-align:right;white-space:nowrap}
.tamis-view .bar{display:inline-block;height:.6em;width:5em;margin-right:.5em}
.tamis-view .bar{background:rgba(128,128,128,.25);border-radius:3px;overflow:hidden}
.tamis-view .bar span{display:block;height:100%;background:#0072b2}
.tamis-view .mark{border:1px solid currentColor;border-radius:3px;padding:0 .35em;opacity:.85}
.tamis-view details{margin:.3rem 0}
.tamis-view summary{cursor:pointer}
"""


def frame(*parts: str) -> str:
    """Return HTML for a notebook. Parts are escaped unless they are `Markup`."""
    body = Markup("\n").join(escape(part) for part in parts)
    return f'<style>{_STYLE}</style>\n<div class="tamis-view">\n{body}\n</div>\n'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """Return a table. A cell of class `Markup` is a whole `td` element; other cells are escaped."""
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in header)
    lines = [Markup("").join(_cell(cell) for cell in row) for row in rows]
    body = Markup("\n").join(Markup("<tr>{}</tr>").format(line) for line in lines)
    top = Markup("<thead><tr>{}</tr></thead>").format(head) if header else Markup("")
    return Markup("<table>{}<tbody>\n{}\n</tbody></table>").format(top, body)


def text_cell(text: str) -> Markup:
    """Return the cell of a text that a user gave, shortened where it is long."""
    more = f" … ({len(text):,} characters)" if len(text) > _TEXT_LIMIT else ""
    shown = text[:_TEXT_LIMIT].encode("utf-8", "replace").decode()
    return Markup('<td class="text" dir="auto">{}{}</td>').format(shown, more)


def probability_cell(probability: float) -> Markup:
    """Return the cell of a probability: a bar and the number."""
    return Markup(
        '<td class="number"><span class="bar"><span style="width:{:.0f}%"></span></span>{:.3f}</td>'
    ).format(100 * probability, probability)


def verdicts_html(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of verdicts, each as `Verdict.to_dict(ood=True)` gives it; of many, the first
    `SHOWN`.
    """
    shown = verdicts[:SHOWN]
    labels = list(dict.fromkeys(chain.from_iterable(one["probabilities"] for one in shown)))
    few = labels if len(labels) <= 3 else []
    header = ["text", "verdict", *(f"P({label})" for label in few or ["label"])]
    asked = any(one["ood_score"] is not None for one in shown)
    rows = [
        [
            text_cell(one["text"]),
            _verdict_cell(one),
            *_probabilities(one["probabilities"], one["label"], few),
            *([_ood_cell(one)] if asked else []),
        ]
        for one in shown
    ]
    left = len(verdicts) - len(shown)
    rest = [Markup('<p class="soft">and {:,} more</p>').format(left)] if left else []
    return frame(table([*header, *(["out-of-distribution"] if asked else [])], rows), *rest)


def _cell(cell: str) -> Markup:
    return cell if isinstance(cell, Markup) else Markup("<td>{}</td>").format(cell)


def _verdict_cell(verdict: Mapping[str, Any]) -> Markup:
    label = verdict["label"]
    if verdict["verdict"] == label:
        return Markup("<td><b>{}</b></td>").format(label)
    return Markup('<td><span class="mark">{}</span> <span class="soft">{}</span></td>').format(
        verdict["verdict"], f"label: {label}"
    )


def _probabilities(
    probabilities: Mapping[str, float], label: str, few: Sequence[str]
) -> list[Markup]:
    return [probability_cell(probabilities.get(name, 0.0)) for name in few or [label]]


def _ood_cell(verdict: Mapping[str, Any]) -> Markup:
    found = {True: "yes", False: "no", None: "not known"}[verdict["ood"]]
    score = verdict["ood_score"]
    said = "" if score is None else f"score {score:.1f}"
    return Markup('<td>{} <span class="soft">{}</span></td>').format(found, said)
