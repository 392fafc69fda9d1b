"""Figures by class, and the classes most often taken for one another: as rows, and as the parts of
the page that show them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

MOST_CONFUSIONS = 15


def confusions(
    counts: Sequence[Sequence[int]], classes: Sequence[str], *, most: int = MOST_CONFUSIONS
) -> list[dict[str, Any]]:
    """The commonest mistakes by class: label, predicted, rows, and their share of the label's rows;
    most rows first.

    Equal counts come by their share, then in the order of the classes.

    Args:
        counts: (K, K) rows by label and, across, by prediction.
        classes: K labels.
        most: pairs at the most; pairs without a row are left out.
    """
    found: list[dict[str, Any]] = [
        {
            "label": classes[i],
            "predicted": classes[j],
            "rows": int(row[j]),
            "share": row[j] / sum(row),
        }
        for i, row in enumerate(counts)
        for j in range(len(classes))
        if i != j and row[j]
    ]
    return sorted(found, key=lambda pair: (-pair["rows"], -pair["share"]))[:most]


def confusions_sentence(pairs: Sequence[Mapping[str, Any]], *, most: int = 3) -> str:
    """The first of them in words; empty where there are none."""
    shown = [
        f"{pair['label']!r} taken for {pair['predicted']!r} ({pair['rows']:,} rows)"
        for pair in pairs[:most]
    ]
    return f"Most often confused: {', '.join(shown)}." if shown else ""


def confusions_table(report: Mapping[str, Any]) -> str:
    """The pairs of a report of more than two classes as a part of the page."""
    pairs = report.get("confusions")
    if not pairs:
        return ""
    lines = [
        f"<tr><td>{escape(str(pair['label']))}</td><td>{escape(str(pair['predicted']))}</td>"
        f"<td>{pair['rows']:,}</td><td>{100 * pair['share']:.1f} %</td></tr>"
        for pair in pairs
    ]
    return (
        "<h2>Most often confused</h2><div "
        'class="scroll"><table><thead><tr><th>label</th><th>predicted</th><th>rows</th>'
        f"<th>of the label's rows</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def per_class_table(
    report: Mapping[str, Any],
    figure_text: Callable[[Mapping[str, Any], str, bool], tuple[str, str]],
) -> str:
    """Every class with its rows and figures; `figure_text` writes a figure and its interval."""
    judged = report["test"] or report["validation"]
    if not judged:
        return ""
    shown = [("recall", True), ("precision", True), ("f1", False), ("average_precision", False)]
    lines = []
    for row in judged["per_class"]:
        cells = "".join(
            f"<td>{escape(figure_text(row, key, percent)[0])}</td>" for key, percent in shown
        )
        lines.append(
            f"<tr><td>{escape(str(row['label']))}</td><td>{row['n']:,}</td><td>{row['predicted']:,}</td>{cells}</tr>"
        )
    return (
        "<h2>Per class</h2><div "
        'class="scroll"><table><thead><tr><th>label</th><th>rows</th><th>predicted</th><th>recall</th>'
        "<th>precision</th><th>F1</th><th>average "
        f"precision</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
