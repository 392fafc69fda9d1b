"""Figures of the judged texts, and tables of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.obvious.texts import Text

WHEN = {"before": "as trained", "after": "after 20 corrections"}


def figures(
    texts: list[Text], probabilities: NDArray[np.float64], threshold: float
) -> dict[str, Any]:
    """Return average precision, the unwanted texts found and the wanted texts let through at the
    threshold, and the (N,) probabilities, rounded to four digits.
    """
    from sklearn.metrics import average_precision_score

    truth = np.array([text.unwanted for text in texts])
    flagged = probabilities >= threshold
    return {
        "average_precision": round(float(average_precision_score(truth, probabilities)), 4),
        "unwanted_found": int((flagged & truth).sum()),
        "wanted_let_through": int((~flagged & ~truth).sum()),
        "probabilities": [round(float(p), 4) for p in probabilities],
    }


def summary(texts: list[Text], methods: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table: a row per method, its figures as trained and after corrections."""
    unwanted = sum(text.unwanted for text in texts)
    heads = [
        f"{name}, {when}"
        for when in WHEN.values()
        for name in (
            "average precision",
            f"unwanted found of {unwanted}",
            f"wanted let through of {len(texts) - unwanted}",
        )
    ]
    lines = [f"| method | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name, found in methods.items():
        cells = [
            cell
            for when in WHEN
            for cell in (
                f"{found[when]['average_precision']:.3f}",
                str(found[when]["unwanted_found"]),
                str(found[when]["wanted_let_through"]),
            )
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_text(texts: list[Text], methods: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table: a row per text, P(unwanted) of each method as trained and after
    corrections; wrong verdicts are bold.
    """
    lines = [f"| | kind | text | {' | '.join(methods)} |", f"|---|---|---|{'---|' * len(methods)}"]
    for place, text in enumerate(texts):
        cells = []
        for found in methods.values():
            pair = []
            for when in WHEN:
                probability = found[when]["probabilities"][place]
                wrong = (probability >= found["threshold"]) != text.unwanted
                pair.append(f"**{probability:.2f}**" if wrong else f"{probability:.2f}")
            cells.append(" → ".join(pair))
        label = "unwanted" if text.unwanted else "wanted"
        shown = text.text.replace("|", "\\|")
        lines.append(f"| {label} | {text.kind} | {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)
