"""A report as lines of text, for a terminal."""

from __future__ import annotations

from typing import Any

from tamis.decision.out_of_distribution import ood_sentence
from tamis.evaluation.fold_spread import folds_sentence
from tamis.evaluation.prequential import PrequentialFigures, prequential_rows
from tamis.evaluation.report.confusion import confusions_sentence
from tamis.evaluation.report.figure_columns import columns, figure_text
from tamis.evaluation.report.report import mcnemar_sentence
from tamis.evaluation.report.text_table import table
from tamis.evaluation.robustness import PerturbationResult, robustness_rows


def robustness_lines(report: dict[str, Any]) -> list[str]:
    """The table of results per perturbation; empty without a robustness evaluation."""
    if not report.get("robustness"):
        return []
    header, rows = robustness_rows(
        [PerturbationResult(**result) for result in report["robustness"]]
    )
    return ["", table(rows, header=header), ""]


def prequential_lines(report: dict[str, Any]) -> list[str]:
    """The table of a prequential evaluation; empty without one."""
    if not report.get("prequential"):
        return []
    header, rows = prequential_rows(
        [PrequentialFigures(**result) for result in report["prequential"]["results"]]
    )
    return [
        "",
        table(rows, header=header),
        *(f"note: {note}" for note in report["prequential"]["notes"]),
    ]


def answer_lines(report: dict[str, Any]) -> list[str]:
    """The result in whole numbers and what to try next; empty for a report without them."""
    summary, steps = report.get("summary"), report.get("next_steps") or []
    lines = list(summary["sentences"]) if summary else []
    lines += [f"next: {step['sentence']}" for step in steps]
    return [*lines, ""] if lines else []


def report_lines(report: dict[str, Any]) -> list[str]:
    """A report in lines: the result in whole numbers, what to try next, warnings, the metrics of
    model and baselines, McNemar's test and notes.
    """
    lines = [*answer_lines(report), *(f"warning: {sentence}" for sentence in report["warnings"])]
    judged = {name: report[name] for name in ("test", "validation") if report[name]}
    if not judged:
        return [
            *lines,
            folds_sentence(report.get("folds"))
            or "There are no metrics, because no rows were held out.",
        ]
    shown = columns(report)
    rows = []
    beside = {f"this model, {name}": figures for name, figures in judged.items()} | report[
        "baselines"
    ]
    origin = f" of {report['test_data']}" if report.get("test_data") else ""
    for name, figures in beside.items():
        name += origin if name == "this model, test" else ""
        cells = [
            " ".join(filter(None, figure_text(figures, key, percent))) for key, _, percent in shown
        ]
        rows.append([f"{name} ({figures['n']:,} rows)", *cells])
    lines.append(
        table(
            [
                list(column)
                for column in zip(["", *(heading for _, heading, _ in shown)], *rows, strict=True)
            ]
        )
    )
    lines += robustness_lines(report)
    lines += filter(
        None,
        [folds_sentence(report.get("folds")), confusions_sentence(report.get("confusions") or [])],
    )
    lines += filter(None, [ood_sentence(report.get("ood")), mcnemar_sentence(report)])
    return [*lines, *(f"note: {note}" for note in report["notes"])]
