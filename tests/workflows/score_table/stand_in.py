"""An engine in the place of a model: fast, and stricter. The last digits of its scores depend on
all texts of a chunk, as those of a network do; so two outputs are the same bytes only if the chunks
were the same.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tamis.workflows.score_table.engine import Chunk, ModelFacts, ScoredChunk, ScoringJob
from tamis.workflows.score_table.options import ScoreOptions
from tamis.workflows.score_table.output_folder import LocalFolder
from tamis.workflows.score_table.run import Outcome, score_table
from tamis.workflows.score_table.source import local_source
from tests import runs

LABELS = ("ham", "spam")


def probability(text: str) -> float:
    """What the stand-in says about a text, but for the last digits."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def scored(chunk: Chunk, labels: tuple[str, ...] = LABELS) -> ScoredChunk:
    mates = hashlib.sha256("\0".join(chunk.texts).encode()).digest()[0]
    rows, found, verdicts = [], [], []
    for text in chunk.texts:
        p = probability(text) * (1 - 1e-9) + mates * 1e-12
        rows.append([1 - p, p, *([0.0] * (len(labels) - 2))])
        found.append(labels[int(p >= 0.5)])
        verdicts.append("unsure" if abs(p - 0.5) < 0.05 else found[-1])
    return ScoredChunk(chunk.part, chunk.place, tuple(found), tuple(verdicts), np.array(rows))


class StandIn:
    """An engine that takes some chunks ahead and answers them in a random order."""

    def __init__(self, seed: int = 0, ahead: int = 4, fingerprint: str = "one") -> None:
        self._random, self._ahead = random.Random(seed), ahead
        self._fingerprint = fingerprint
        self.computed: list[str] = []
        """all texts that were scored, in order"""
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended = True

    def start(self, job: ScoringJob) -> ModelFacts:
        return ModelFacts(LABELS, self._fingerprint, "cpu", "fp32")

    def score(self, chunks: Iterable[Chunk]) -> Iterator[ScoredChunk]:
        rest = iter(chunks)
        held = list(islice(rest, self._ahead))
        while held:
            chunk = held.pop(self._random.randrange(len(held)))
            self.computed += chunk.texts
            yield scored(chunk)
            held += islice(rest, 1)


def score(
    table: Path,
    out: Path,
    engine: Any = None,
    *,
    say: Callable[[str], None] = lambda _: None,
    progress: Any = None,
    **options: Any,
) -> Outcome:
    """Score a table with the stand-in."""
    return score_table(
        ScoringJob(str(runs.head_model())),
        local_source(table),
        LocalFolder(out),
        engine or StandIn(),
        ScoreOptions(**options),
        progress=progress,
        say=say,
    )
