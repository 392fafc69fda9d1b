"""Writes the long-text table of `docs/robustness.md` from the lines of
`benchmarks.long_texts.measure`.

    python -m benchmarks.long_texts.report benchmarks/long_texts/results.jsonl

A test checks that the page matches the lines.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.long_texts.measure import lines_of
from benchmarks.robustness.report import DOCUMENT, share

BEGIN, END = "<!-- long texts: begin -->", "<!-- long texts: end -->"


def main() -> None:
    """Write the section."""
    DOCUMENT.write_text(
        page(DOCUMENT.read_text(encoding="utf-8"), lines_of(Path(sys.argv[1]))), encoding="utf-8"
    )


def page(text: str, lines: list[dict[str, Any]]) -> str:
    """Return the document with the figures inserted."""
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n{section(lines)}\n{END}{after}"


def section(lines: list[dict[str, Any]]) -> str:
    """Return a Markdown table with a row per model and penalty."""
    about = lines[0]
    rows = [
        f"Spam hidden in ham of {about['tokens']:,} tokens, {about['texts']} texts with and "
        f"{about['texts']} without, 95 % intervals:",
        "",
        "| model | penalty | spam found % | ham blocked % | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    for line in lines:
        penalty = f"{line['shift']:.2f}, the model's own" if line["own"] else f"{line['shift']:.2f}"
        rows.append(
            f"| {line['model']} | {penalty} | {share(line, 'recall')} | "
            f"{share(line, 'false_positive_rate')} | {line['peak_memory_mb']} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
