"""Writes the table of docs/serving.md from results.jsonl: python -m benchmarks.serving.table. A
test checks that they match.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.serving import results

RESULTS = Path(__file__).parent / "results.jsonl"
PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def page() -> str:
    """Return the page with the table inserted."""
    text = PAGE.read_text(encoding="utf-8")
    figures = results.read(RESULTS)
    lines = [results.table(figures)]
    if figures:
        machines = dict.fromkeys(
            f"{figure.machine['processor']}, {figure.machine['cores']} cores" for figure in figures
        )
        loads = [figure.machine["load"] for figure in figures]
        lines += [
            "",
            f"Measured on {'; '.join(machines)}; load average {min(loads):.1f} to "
            f"{max(loads):.1f}, the measurement itself included.",
        ]
    section = "\n".join(lines)
    return re.sub(
        r"(<!-- measures -->\n).*(<!-- /measures -->)",
        lambda m: f"{m[1]}{section}\n{m[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
