"""Writes the figures of docs/speed.md and the plot docs/speed.png from the results: python -m
benchmarks.speed.page. A test checks that they match.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.speed import against
from benchmarks.speed.ahead import COMPARED, ahead
from benchmarks.speed.plot import plot
from benchmarks.speed.results import Figure, Results, markdown

RESULTS = Path(__file__).parent / "results"
TWO_VERSIONS = Path(__file__).parent / "against.jsonl"
PAGE = Path(__file__).parents[2] / "docs" / "speed.md"
PLOT = PAGE.with_suffix(".png")


def published() -> dict[str, list[Figure]]:
    """Return the figures of every results file, by its title."""
    return {
        file.stem.replace("_", " "): Results(file).figures
        for file in sorted(RESULTS.glob("*.jsonl"))
    }


def page() -> str:
    """Return the page with the tables inserted: one per results file, below the text of its `.txt`
    about machine and rows.
    """
    tables: list[str] = []
    faster: list[str] = []
    for name, figures in published().items():
        about = (RESULTS / f"{name.replace(' ', '_')}.txt").read_text(encoding="utf-8").strip()
        tables += [about, "", markdown(figures)]
        faster += [f"- {name}, {line}" for line in ahead(figures)]
    text = _filled(
        PAGE.read_text(encoding="utf-8"), "rivals", "\n".join(faster or ["None was faster."])
    )
    text = _filled(text, "against", against.table(against.read(TWO_VERSIONS)))
    return _filled(text, "figures", "\n".join(tables).strip())


def latest(named: dict[str, list[Figure]]) -> dict[str, list[Figure]]:
    """Return the figures that the plot shows: those of each part in the last file that has it."""
    last = {figure.part: name for name, figures in named.items() for figure in figures}
    return {
        name: [figure for figure in figures if last[figure.part] == name]
        for name, figures in named.items()
    }


def draw(path: Path) -> None:
    """Draw the plot of the parts that rivals can also do."""
    plot(latest(published()), path, parts=COMPARED)


def _filled(text: str, name: str, section: str) -> str:
    return re.sub(
        rf"(<!-- {name} -->\n).*(<!-- /{name} -->)",
        lambda m: f"{m[1]}{section}\n{m[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    draw(PLOT)
