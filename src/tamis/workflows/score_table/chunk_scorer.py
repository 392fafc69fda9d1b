"""Scores the texts of a chunk with one loaded model; what every engine runs in its workers.

A chunk is computed by one thread with one torch thread: then its scores do not depend on how many
threads or processes there are. Several threads may score chunks at the same time.
"""

from __future__ import annotations

import hashlib
from typing import Any

from tamis.export.folder import MODEL, TOKENIZER, WEIGHTS, is_exported
from tamis.feedback.loading import LoadedModel, load_with_feedback
from tamis.files import sha256
from tamis.workflows.score_table.engine import Chunk, ModelFacts, ScoredChunk, ScoringJob


class ChunkScorer:
    """A loaded model that scores chunks."""

    def __init__(self, job: ScoringJob) -> None:
        """Load the model.

        Raises:
            TamisError: see `tamis.feedback.loading.load_with_feedback`.
        """
        self._job = job
        self._loaded: LoadedModel = load_with_feedback(
            job.run, job.feedback, device=job.device, dtype=job.dtype, threads=1
        )
        self._classifier: Any = self._loaded.classifier
        self._labels = [str(label) for label in self._classifier.classes_]

    def facts(self) -> ModelFacts:
        """Return what is known about the model; hashes all weights."""
        device, dtype = self._compute()
        return ModelFacts(
            tuple(self._labels),
            self._fingerprint(device, dtype),
            device,
            dtype,
            self._loaded.feedback.notes,
        )

    def score(self, chunk: Chunk) -> ScoredChunk:
        """Return the scores of a chunk.

        Raises:
            DataError: a text is not valid Unicode.
        """
        classifier = self._classifier
        classifier.predictor_.use_threads(1)
        probabilities = classifier.rule_.probabilities(
            classifier.predictor_.logits(list(chunk.texts))
        )
        found = classifier.rule_.verdicts(chunk.texts, probabilities, self._labels)
        return ScoredChunk(
            chunk.part,
            chunk.place,
            tuple(each.label for each in found),
            tuple(each.verdict for each in found),
            probabilities,
        )

    def _compute(self) -> tuple[str, str]:
        classifier = self._classifier
        if is_exported(self._job.run):
            return "cpu", str(classifier.description_.precision.get("type", "fp32"))
        return classifier.predictor_.compute.device, classifier.predictor_.compute.dtype

    def _fingerprint(self, device: str, dtype: str) -> str:
        classifier = self._classifier
        encoder = classifier.predictor_.encoder
        if is_exported(self._job.run):
            from pathlib import Path

            folder = Path(self._job.run)
            files = [folder / name for name in (MODEL, WEIGHTS, TOKENIZER)]
            weights = " ".join(sha256(file) for file in files if file.is_file())
        else:
            weights = classifier.fingerprint()
        facts = (
            weights,
            repr(classifier.rule_),
            repr(self._labels),
            encoder.tokenizer.backend.to_str(),
            repr((encoder.tokenizer.dropped, encoder.context, encoder.window, encoder.aggregation)),
            device,
            dtype,
        )
        return hashlib.sha256("\0".join(facts).encode()).hexdigest()
