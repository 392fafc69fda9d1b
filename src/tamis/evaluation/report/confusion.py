"""Metrics per class and the most frequent confusions, as rows and as HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

MOST_CONFUSIONS = 15


def confusions(
    counts: Sequence[Sequence[int]], classes: Sequence[str], *, most: int = MOST_CONFUSIONS
) -> list[dict[str, Any]]:
    """The most frequent confusions: label, predicted, rows, and share of the rows of the label.

    Sorted by number of rows, then by share, then in the order of the classes.

    Args:
        counts: (K, K) confusion matrix; rows are labels, columns are predictions.
        classes: K labels.
        most: maximum number of pairs; pairs without rows are omitted.
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
    """Describe the first pairs; empty if there are none."""
    shown = [
        f"{pair['label']!r} predicted as {pair['predicted']!r} ({pair['rows']:,} rows)"
        for pair in pairs[:most]
    ]
    return f"Most frequent confusions: {', '.join(shown)}." if shown else ""


def confusions_table(report: Mapping[str, Any]) -> str:
    """The confusions of a report as HTML; only for more than two classes."""
    pairs = report.get("confusions")
    if not pairs:
        return ""
    lines = [
        f"<tr><td>{escape(str(pair['label']))}</td><td>{escape(str(pair['predicted']))}</td>"
        f"<td>{pair['rows']:,}</td><td>{100 * pair['share']:.1f} %</td></tr>"
        for pair in pairs
    ]
    return (
        "<h2>Most frequent confusions</h2><div "
        'class="scroll"><table><thead><tr><th>label</th><th>predicted</th><th>rows</th>'
        f"<th>share of the label</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def per_class_table(
    report: Mapping[str, Any],
    figure_text: Callable[[Mapping[str, Any], str, bool], tuple[str, str]],
) -> str:
    """Rows and metrics of each class as HTML; `figure_text` formats a metric and its interval."""
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
        "<h2>Metrics per class</h2><div "
        'class="scroll"><table><thead><tr><th>label</th><th>rows</th><th>predicted</th><th>recall</th>'
        "<th>precision</th><th>F1</th><th>average "
        f"precision</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
