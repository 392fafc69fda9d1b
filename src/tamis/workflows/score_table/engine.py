"""What is scored, and what scores it.

A table is divided into parts, and the texts of a part into chunks, by the rows alone. An engine
maps chunks to scores, in any order and on any number of processes or machines. The last bits of a
score depend on the texts that are computed beside it, but all of those are in the same chunk; so
the output is the same bytes (fp32, same processor and versions) whatever the engine, the number of
processes and the number of interruptions are.

An engine never sees files: the caller (`run.score_table`) reads rows, removes repeated texts, cuts
chunks, and writes the parts. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tamis.feedback.loading import BY_DEFAULT, FeedbackChoice

CHUNK_TEXTS = 1_024
"""Most texts of a chunk. The output depends on it, as on the two below."""
CHUNK_CHARACTERS = 1 << 20
"""A chunk ends with the text that reaches this number of characters."""


@dataclass(frozen=True)
class ScoringJob:
    """Which model scores, and how. Any process that can read `run` can make the scorer from it
    (`chunk_scorer.ChunkScorer`).
    """

    run: str
    """run folder, model folder, exported folder, or `ORGANIZATION/NAME`"""
    device: str = "auto"
    dtype: str = "fp32"
    feedback: FeedbackChoice = BY_DEFAULT


@dataclass(frozen=True)
class ModelFacts:
    """What is known about the model once it is loaded."""

    labels: tuple[str, ...]
    """K labels, in the order of the probabilities"""
    fingerprint: str
    """Hash of everything that a score depends on: weights with corrections, rule, tokenizer,
    device, dtype. Two jobs with the same fingerprint give the same scores."""
    device: str
    dtype: str
    """resolved: never `auto`"""
    notes: tuple[str, ...] = ()
    """sentences for the user, such as that corrections are in effect"""


@dataclass(frozen=True)
class Chunk:
    """Texts that are scored together. All are different, and valid Unicode.

    `part` and `place` (the number of the chunk within its part, from 0) identify it.
    """

    part: int
    place: int
    texts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ScoredChunk:
    """The scores of the N texts of a chunk, in their order."""

    part: int
    place: int
    labels: tuple[str, ...]
    """N labels by the threshold, never `unsure`"""
    verdicts: tuple[str, ...]
    """N verdicts: the label or `unsure`; of a multi-label model, all labels that apply"""
    probabilities: NDArray[np.float64]
    """(N, K)"""


class Engine(Protocol):
    """Scores chunks. A context manager: workers live inside of the `with` block.

    Raises:
        TamisError: the model cannot be loaded (in `start`), or a worker is lost for good (in
            `score`).
    """

    def __enter__(self) -> Self:
        """Return self."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all workers, also while they compute."""
        ...

    def start(self, job: ScoringJob) -> ModelFacts:
        """Load the model in at least one worker, and tell about it."""
        ...

    def score(self, chunks: Iterable[Chunk]) -> Iterator[ScoredChunk]:
        """Yield the scores of all chunks, each once, in any order. Called several times, one
        after the other: the caller ends `chunks` where it has to wait for scores.

        Takes further chunks only when workers need them, at most a few ahead of each worker: the
        caller holds the rows of all unfinished parts, and so its memory is bounded. Takes and
        yields in the thread of the caller. A chunk may be computed again after a loss.
        """
        ...
