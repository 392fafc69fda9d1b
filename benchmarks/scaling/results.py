"""Measured inputs of the calculation: JSON lines in `results.jsonl`. The last of a kind counts.

Every line has `measure`, `of` (which of its kind), `figures`, `command`, `date` and `machine`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.serving.results import machine

RESULTS = Path(__file__).with_name("results.jsonl")


def add(path: Path, measure: str, of: str, figures: Mapping[str, Any], command: str) -> None:
    """Append a line."""
    about = {key: value for key, value in machine().items() if key != "load"}
    line = {
        "measure": measure,
        "of": of,
        "figures": dict(figures),
        "command": command,
        "date": date.today().isoformat(),
        "machine": about,
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read(path: Path = RESULTS) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the last line of each kind, by `measure` and `of`."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {(line["measure"], line["of"]): line for line in lines}
