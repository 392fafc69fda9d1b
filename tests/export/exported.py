"""Classifiers of every kind, and their exported folders, made once for all tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.text_classifier import TextClassifier
from tamis.export.onnx_classifier import OnnxClassifier
from tamis.export.onnx_folder import ExportOptions, export_onnx
from tests import runs
from tests.rows import messages

ROWS = messages()
LABELS, TEXTS = [label for label, _ in ROWS], [text for _, text in ROWS]
LONG = " and then ".join(TEXTS[:12])
ODD = ["", "\x00", "<|endoftext|>", "<|endoftext|> twice <|endoftext|>", "é" * 300, "🎂 \n\t", LONG]
"""Texts that are unlike messages: empty, longer than the context, spelling special tokens."""

KINDS: dict[str, dict[str, object]] = {
    "mean": {},
    "last_token": {"text.pooling": "last_token"},
    "no_bos": {"text.add_bos": False, "text.normalize": "robust"},
    "layers": {"text.layers": 1},
    "last_position": {"text.padding": "fixed:20", "text.pooling": "last_position"},
    "nfkc": {"text.normalize": "nfkc", "text.window": 16},
}
"""Settings of classifiers whose head alone is fitted."""


@cache
def classifier(kind: str) -> TextClassifier:
    """A classifier of one of `KINDS`, of trained blocks (`attention`), or of three classes
    (`three`).
    """
    if kind == "attention":
        return TextClassifier.load(runs.finished_run(), threads=1)
    labels: NDArray[np.int64] | list[str] = LABELS
    if kind == "three":
        labels = np.array([len(text) % 3 * 10 for text in TEXTS])
    settings = KINDS.get(kind, {})
    made = TextClassifier("scratch:tiny", "head", threads=1, settings=settings)
    return made.fit(TEXTS, labels)


def folder(kind: str, *, int8: bool = False) -> Path:
    """The exported folder of a classifier; tests only read it."""
    name = f"exported-{kind}{'-int8' * int8}"
    options = ExportOptions(int8, TEXTS)
    return runs.made_once(name, lambda path: export_onnx(classifier(kind), path, options))


def onnx(kind: str, *, int8: bool = False) -> OnnxClassifier:
    """The classifier of an exported folder."""
    return OnnxClassifier.load(folder(kind, int8=int8), threads=1)
