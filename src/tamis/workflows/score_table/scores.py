"""The scores of a part's texts and of the remembered ones, and how they are kept on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.workflows.score_table.engine import ScoredChunk

Score = tuple[str, str, list[float]]
"""Label, verdict, K probabilities."""


class ScoreColumn:
    """Scores by number; grows at its end."""

    def __init__(self) -> None:
        """Hold none."""
        self._labels: list[str] = []
        self._verdicts: list[str] = []
        self._rows: list[NDArray[np.float64]] = []
        self._names: dict[str, str] = {}

    def __len__(self) -> int:
        """Return the number of scores."""
        return len(self._labels)

    def __getitem__(self, number: int) -> Score:
        """Return a score."""
        return self._labels[number], self._verdicts[number], self._rows[number].tolist()

    def extend(
        self, labels: Iterable[str], verdicts: Iterable[str], probabilities: NDArray[np.float64]
    ) -> None:
        """Add N scores; `probabilities` is (N, K)."""
        same = self._names.setdefault  # equal strings from other processes become one object
        self._labels.extend(same(label, label) for label in labels)
        self._verdicts.extend(same(verdict, verdict) for verdict in verdicts)
        self._rows.extend(probabilities)

    def add_chunks(self, chunks: Sequence[ScoredChunk]) -> None:
        """Add the scores of a part's chunks, in their order."""
        for chunk in sorted(chunks, key=lambda chunk: chunk.place):
            self.extend(chunk.labels, chunk.verdicts, chunk.probabilities)

    def to_jsonl(self, start: int, stop: int) -> str:
        """Return the scores from `start` to before `stop`, one a line; nothing is rounded."""
        return "".join(
            json.dumps(self[number], ensure_ascii=False) + "\n" for number in range(start, stop)
        )

    def extend_from_jsonl(self, text: str) -> None:
        """Add what `to_jsonl` returned.

        Raises:
            ValueError: it is something else.
        """
        found = [json.loads(line) for line in text.split("\n") if line]
        if found:
            labels, verdicts, values = zip(*found, strict=True)
            self.extend(labels, verdicts, np.array(values, dtype=np.float64))


class Scores:
    """The scores that a part needs, by the numbers of `Part.texts`."""

    def __init__(self, remembered: ScoreColumn, own: ScoreColumn) -> None:
        """`own` are those of texts that are not remembered."""
        self._remembered, self._own = remembered, own

    def __getitem__(self, text: int) -> Score:
        """Return the score of a text."""
        return self._remembered[text] if text >= 0 else self._own[-1 - text]
