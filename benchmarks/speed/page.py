"""Write the figures of docs/speed.md from results.jsonl. Run: python -m benchmarks.speed.page (a test holds the two together)."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.speed.results import Results, markdown

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[2] / "docs" / "speed.md"


def page() -> str:
    """The page with the tables in their place: a file of results each, under what its first line says of the machine and the rows."""
    text = PAGE.read_text(encoding="utf-8")
    lines: list[str] = []
    for file in sorted(RESULTS.glob("*.jsonl")):
        about = file.with_suffix(".txt").read_text(encoding="utf-8").strip()
        lines += [about, "", markdown(Results(file).figures)]
    section = "\n".join(lines).strip()
    return re.sub(r"(<!-- figures -->\n).*(<!-- /figures -->)", lambda m: f"{m[1]}{section}\n{m[2]}", text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
