"""The decision rule of a report in words: threshold, how it was chosen, and the verdict unsure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamis.evaluation.report.figure_columns import blocked_words


def threshold_sentences(report: Mapping[str, Any]) -> list[str]:
    """Describe threshold, `unsure` band and temperature of a report."""
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
            f"({blocked_words(report)}) {100 * choice['false_positive_rate']:.2f} %, "
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
