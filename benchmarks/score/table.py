"""A large table made of the rows of the SMS Spam Collection, drawn with a seed."""

from __future__ import annotations

import csv
import random
from pathlib import Path

_AT_ONCE = 100_000


def write_table(source: Path, path: Path, rows: int, *, distinct: bool, seed: int = 42) -> None:
    """Write a CSV with the columns id, kind, text.

    Args:
        source: the SMS Spam Collection, a label, a tab and a text a line.
        path: what is written.
        rows: number of rows.
        distinct: add a number to each text, so that no two are equal.
        seed: of the choice of rows.
    """
    lines = source.read_text(encoding="utf-8").splitlines()
    pairs = [(label, text) for label, _, text in (line.partition("\t") for line in lines)]
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "kind", "text"))
        for start in range(0, rows, _AT_ONCE):
            chosen = draw.choices(pairs, k=min(_AT_ONCE, rows - start))
            writer.writerows(
                (number, label, f"{text} {number}" if distinct else text)
                for number, (label, text) in enumerate(chosen, start)
            )
