"""Write the tables of docs/how-to/other-texts.md from benchmarks/obvious/results.json. A test holds
them together.

    PYTHONPATH=src:. python docs/make_obvious.py
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.obvious.table import WHEN
from benchmarks.obvious.texts import Text, fingerprint, texts

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "obvious" / "results.json"
PAGE = ROOT / "docs" / "how-to" / "other-texts.md"
DEFAULT, EXACT = "nano", "nano-head"
NAMES = {
    "tfidf": "TF-IDF",
    "minilm": "MiniLM, frozen",
    DEFAULT: "the default model: `nano`, trained completely",
    EXACT: "`nano`, exact head (`--tune head`)",
    "nano-head-words": "the same with `text.normalize=words`",
}
"""Methods of the results, and what the tables call them."""
SHORT = {
    "tfidf": "TF-IDF",
    "minilm": "MiniLM",
    DEFAULT: "`nano`",
    EXACT: "`nano`, exact head",
    "nano-head-words": "words only",
}
FEW = 2
"""Kinds with fewer texts share a line."""


def results() -> dict[str, Any]:
    """Methods and what they found.

    Raises:
        ValueError: the results are of other texts than those of the benchmark.
    """
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    if found["texts"] != fingerprint():
        raise ValueError(f"{RESULTS.name} is of other texts; run benchmarks.obvious again")
    methods: dict[str, Any] = found["methods"]
    return methods


def summary(methods: dict[str, Any]) -> list[str]:
    """A line per method, as trained and after the corrections; dashes where it is not measured."""
    lines = [
        "| model of the whole SMS Spam Collection | average precision | unwanted found of 30 | "
        "wanted let through of 30 | after 20 corrections: average precision | found | "
        "let through |",
        f"|---|{'---|' * 6}",
    ]
    for name, said in NAMES.items():
        cells = ["not measured"] + ["–"] * 5  # noqa: RUF001
        if name in methods:
            cells = [
                cell
                for when in WHEN
                for cell in (
                    f"{methods[name][when]['average_precision']:.3f}".removeprefix("0"),
                    str(methods[name][when]["unwanted_found"]),
                    str(methods[name][when]["wanted_let_through"]),
                )
            ]
        lines.append(f"| {said} | {' | '.join(cells)} |")
    return lines


def found_by_kind(
    judged: list[Text], method: dict[str, Any], when: str
) -> tuple[Counter[str], Counter[str]]:
    """Unwanted texts of each kind, and how many of them a method finds."""
    every: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for text, probability in zip(judged, method[when]["probabilities"], strict=True):
        if text.unwanted:
            every[text.kind] += 1
            found[text.kind] += probability >= method["threshold"]
    return every, found


def by_kind(methods: dict[str, Any]) -> list[str]:
    """A line per kind of unwanted text: found as trained → found after the corrections."""
    judged = texts("judged")
    shown = [name for name in NAMES if name in methods]
    columns = {
        (name, when): found_by_kind(judged, methods[name], when) for name in shown for when in WHEN
    }
    every = columns[shown[0], "before"][0]
    rare = [kind for kind, count in every.items() if count < FEW]
    groups = {kind: [kind] for kind in every if kind not in rare} | {", ".join(rare): rare}
    lines = [
        f"| unwanted texts | of | {' | '.join(SHORT[name] for name in shown)} |",
        f"|---|---|{'---|' * len(shown)}",
    ]
    for said, kinds in groups.items():
        cells = [
            " → ".join(str(sum(columns[name, when][1][kind] for kind in kinds)) for when in WHEN)
            for name in shown
        ]
        lines.append(f"| {said} | {sum(every[kind] for kind in kinds)} | {' | '.join(cells)} |")
    return lines


def sentence(methods: dict[str, Any]) -> str:
    """What the corrections change, in words: of the default model if it is measured."""
    name = DEFAULT if DEFAULT in methods else EXACT
    before, after = methods[name]["before"], methods[name]["after"]
    said = "default model" if name == DEFAULT else "exact head of `nano`"
    return (
        f"As trained, the {said} finds {before['unwanted_found']} of the 30 unwanted texts and "
        f"blocks {30 - before['wanted_let_through']} of the 30 wanted ones. After twenty "
        f"corrections it finds {after['unwanted_found']} and blocks "
        f"{30 - after['wanted_let_through']}."
    )


def page() -> str:
    """The page with the tables in their places."""
    methods = results()
    regions = {
        "obvious": summary(methods),
        "kinds": by_kind(methods),
        "corrected": [sentence(methods)],
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in regions.items():
        filled = "\n".join(lines)
        text, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda m, filled=filled: f"{m[1]}{filled}\n{m[2]}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"{PAGE.name}: expected one place for {name}, found {count}")
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
