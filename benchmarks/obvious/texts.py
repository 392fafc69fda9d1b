"""The texts of the benchmark: everyday English written for it, half unwanted and half wanted.

60 texts are judged, 20 others are the corrections that a model may learn. No model is trained on
the 60, and nothing is chosen by them.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("texts.tsv")
UNWANTED = "unwanted"


@dataclass(frozen=True)
class Text:
    """One text of the benchmark."""

    text: str
    unwanted: bool
    kind: str
    """what it is about: prize, parcel, bank, ..."""


def texts(part: str) -> list[Text]:
    """Return the texts of a part: `judged` (60) or `correction` (20)."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Text(row["text"], row["label"] == UNWANTED, row["kind"])
        for row in rows
        if row["part"] == part
    ]


def fingerprint() -> str:
    """Return the start of the SHA-256 of the file; results of other texts are not comparable."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()[:12]
