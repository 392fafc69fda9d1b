"""Load a model for predictions, whatever it is: a run, a model folder, or an exported folder.

Imports torch for the first two only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tamis.export.folder import is_exported

if TYPE_CHECKING:
    from tamis.classifier.text_classifier import TextClassifier
    from tamis.export.onnx_classifier import OnnxClassifier

    Classifier = TextClassifier | OnnxClassifier
    """A classifier that predicts: of a run, or of an exported folder."""


def load_classifier(
    run: Path | str, *, device: str = "auto", threads: int | None = None, dtype: str = "fp32"
) -> Classifier:
    """Return the classifier of a run folder, a model folder, or an exported folder.

    Raises:
        RunError, CheckpointError, ConfigError: see `TextClassifier.load` and `OnnxClassifier.load`.
        MissingExtraError: an exported folder needs onnxruntime, which is not installed.
    """
    if is_exported(run):
        from tamis.export.onnx_classifier import OnnxClassifier

        return OnnxClassifier.load(run, device=device, threads=threads, dtype=dtype)
    from tamis.classifier.text_classifier import TextClassifier

    return TextClassifier.load(run, device=device, threads=threads, dtype=dtype)
