"""The classifier of an exported folder: the predictions of `TextClassifier` without torch.

What needs the network's states (learning, bits per byte, further training) needs the run that was
exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import tokenizers
from numpy.typing import NDArray

from tamis.classifier.inputs import as_texts
from tamis.compute.device import resolve_threads
from tamis.decision.verdict import Verdict, with_windows
from tamis.errors import CheckpointError, ConfigError, RunError
from tamis.export.description import ModelDescription, converted
from tamis.export.folder import MODEL, TOKENIZER, check_files
from tamis.export.onnx_predictor import OnnxPredictor
from tamis.export.onnx_session import open_model
from tamis.files import as_path
from tamis.progress import Progress
from tamis.text.encoder import TextEncoder
from tamis.text.tokenizer import Tokenizer
from tamis.text.windows import WindowAggregation

DEVICES = ("auto", "cpu")


@dataclass(frozen=True)
class NoOODDetector:
    """In the place of an out-of-distribution detector: an exported model is no language model."""

    limit: None = None

    def scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return (N,) NaN."""
        return np.full(len(texts), np.nan)

    def is_ood(self, texts: Sequence[str], scores: NDArray[np.float64]) -> list[bool | None]:
        """Return None for each of N texts: unknown."""
        return [None] * len(texts)

    def mark(self, verdicts: list[Verdict], *, progress: Progress | None = None) -> list[Verdict]:
        """Return the verdicts as they are: whether a text is out-of-distribution is unknown."""
        return verdicts


class OnnxClassifier:
    """A classifier on an exported folder.

    Attributes: `classes_` (K labels), `positive_`, `rule_`, `temperature_`, `predictor_`,
    `description_`; `ood_detector_` has no limit. Shapes: N texts, K classes, C channels. All
    methods raise DataError where a text is not a string or not valid Unicode.
    """

    def __init__(self, predictor: OnnxPredictor, description: ModelDescription) -> None:
        """Put the parts together; `load` reads them from a folder."""
        self.predictor_, self.description_ = predictor, description
        self.rule_, self.positive_ = description.rule, description.rule.positive
        self.classes_: NDArray[Any] = np.array(converted(description))
        self.temperature_ = float(description.calibration.get("temperature", 1.0))
        self.ood_detector_ = NoOODDetector()

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        device: str = "auto",
        threads: int | None = None,
        dtype: str = "fp32",
    ) -> Self:
        """Return the classifier of an exported folder.

        Args:
            folder: written by `export_onnx`.
            device: `auto` or `cpu`.
            threads: CPU threads; all physical cores by default.
            dtype: the type was chosen when the model was exported; `auto`, `fp32` (the default of
                all commands) and the type of the model are accepted.

        Raises:
            RunError: there is no such folder.
            CheckpointError: files are missing, were changed, or do not fit each other.
            ConfigError: another device or type is asked for.
            MissingExtraError: onnxruntime is not installed.
        """
        folder = as_path(folder, "folder")
        if not (folder / MODEL).is_file():
            raise RunError(f"{folder} contains no {MODEL}; write it with: tamis export RUN -o DIR")
        if device not in DEVICES:
            raise ConfigError(
                f"device: an exported model runs on the CPU, got {device!r}; leave the device out, "
                "or use the run that was exported"
            )
        count, _ = resolve_threads(threads)
        files = check_files(folder)
        model = open_model(folder / MODEL, threads=count)
        description = model.description
        if files is not None and files != description:
            raise CheckpointError(
                f"{folder}: tamis.json and the metadata of {MODEL} differ (labels "
                f"{', '.join(files.labels)} and {', '.join(description.labels)}); the files belong "
                "to different models, export the model again"
            )
        if dtype not in ("auto", "fp32", description.precision.get("type")):
            raise ConfigError(
                f"dtype: this model was exported in {description.precision.get('type')}, got "
                f"{dtype!r}; leave it out, or export the run again (int8: --int8)"
            )
        encoder = _encoder(folder / TOKENIZER, description)
        return cls(OnnxPredictor(model.session, encoder, count), description)

    def predict_proba(
        self, X: Iterable[str], *, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Return (N, K) probabilities in the order of `classes_`."""
        logits = self.predictor_.logits(as_texts(X), progress=progress)
        return self.rule_.probabilities(logits)

    def decision_function(self, X: Iterable[str]) -> NDArray[np.float64]:
        """Return (N,) log-odds of `classes_[1]` without the threshold; for K > 2 (N, K) logits."""
        logits = self.predictor_.logits(as_texts(X))
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict(self, X: Iterable[str]) -> NDArray[Any]:
        """Return (N,) labels by the stored threshold (K > 2: the most probable)."""
        return self.classes_[self.rule_.labels(self.predict_proba(X), self.names)]

    def verdicts(
        self, X: Iterable[str], *, ood: bool = False, progress: Progress | None = None
    ) -> list[Verdict]:
        """Return N verdicts: label, verdict (the label or `unsure`), probabilities, deciding
        window. `ood` has no effect: an exported model does not know it.
        """
        texts = as_texts(X)
        encoder = self.predictor_.encoder
        encoded = encoder.encode(texts)
        logits, deciding = self.predictor_.scored(encoded, progress=progress)
        found = self.rule_.verdicts(texts, self.rule_.probabilities(logits), self.names)
        return with_windows(encoder, found, deciding, encoded.long)

    def embed(self, X: Iterable[str]) -> NDArray[np.float32]:
        """Return the (N, C) vectors of length one that the head reads."""
        return self.predictor_.embed(as_texts(X))

    @property
    def names(self) -> list[str]:
        """The labels as strings."""
        return list(self.description_.labels)


def _encoder(path: Path, description: ModelDescription) -> TextEncoder:
    """Return how the model reads texts.

    Raises:
        CheckpointError: tokenizer.json is missing or malformed, or belongs to another model.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; copy the whole exported folder again")
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # `tokenizers` raises a bare Exception for any error in a file
        raise CheckpointError(
            f"{path} cannot be read ({error}); copy the whole exported folder again"
        ) from None
    tokenizer, cut = Tokenizer(backend).dropping(description.dropped_id), description.windows
    size = description.network.get("vocab_size", tokenizer.size)
    if tokenizer.size > size or cut.begin != int(tokenizer.begins):
        raise CheckpointError(
            f"{path} has ids up to {tokenizer.size - 1} and puts {int(tokenizer.begins)} tokens "
            f"before a text, but the model has ids up to {size - 1} and expects {cut.begin}; the "
            "files belong to different models"
        )
    aggregation = WindowAggregation(cut.positive, cut.penalty)
    return TextEncoder(tokenizer, cut.context, cut.size, aggregation)
