"""From texts to logits with ONNX Runtime; the same methods as `tamis.classifier.predictor`. Imports
no torch.

Shapes: N texts, W windows, K classes, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.gpt2.onnx import INPUTS, OUTPUTS
from tamis.gpt2.onnx.batches import padded, padded_batches
from tamis.progress import Progress, Silent
from tamis.text.encoder import TextEncoder
from tamis.text.encoding import BATCH_TOKENS, EncodedTexts
from tamis.text.tokenizer import Tokenizer
from tamis.text.windows import RunningAggregation

Ids = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OnnxPredictor:
    """An exported model with everything needed to score texts. It stores no texts."""

    session: Any
    """onnxruntime.InferenceSession"""
    encoder: TextEncoder
    threads: int

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the encoder."""
        return self.encoder.tokenizer

    def computing(self) -> AbstractContextManager[None]:
        """Return a context without effect: the session has its own threads."""
        return nullcontext()

    def use_threads(self, count: int) -> None:
        """Do nothing: the session has its own threads, which all calls share."""

    def expect_many_calls(self) -> None:
        """Do nothing: every call is answered by the session."""

    def window_logits(self, windows: Sequence[Ids]) -> Floats:
        """Return the (W, K) logits of windows of token ids, of which there is at least one."""
        return self._run(windows, OUTPUTS[0], None).astype(np.float64)

    def token_logits(self, windows: Sequence[Ids]) -> list[Floats]:
        """Return the (T, K) logits of each window as if it ended after each of its T tokens.

        The graph only has an output for the end of a text, so every beginning is scored by itself.
        """
        beginnings = [ids[: stop + 1] for ids in windows for stop in range(len(ids))]
        ends = np.cumsum([len(ids) for ids in windows])
        return np.split(self.window_logits(beginnings), ends[:-1])

    def logits(self, texts: Sequence[str], *, progress: Progress | None = None) -> Floats:
        """Return the (N, K) logits of N texts. The score of a text does not depend on other texts,
        to rounding.

        Raises:
            DataError: a text is not valid Unicode.
        """
        return self.scored(self.encoder.encode(texts), progress=progress)[0]

    def embed(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return the (N, C) vectors of length one that the head reads; for a long text the mean
        over its windows. Arguments and errors as `logits`.
        """
        encoded = self.encoder.encode(texts)
        found = self._run(encoded.windows, OUTPUTS[1], progress).astype(np.float64)
        if not len(found):
            return found.astype(np.float32)
        sums = np.add.reduceat(found, encoded.first[:-1])
        return (sums / np.diff(encoded.first)[:, None])[encoded.distinct_of].astype(np.float32)

    def scored(
        self, encoded: EncodedTexts, *, progress: Progress | None = None
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Return the (N, K) logits of encoded texts, and the (N,) index of each text's deciding
        window.
        """
        values = self._run(encoded.windows, OUTPUTS[0], progress).astype(np.float64)
        distinct, rows = len(encoded.first) - 1, np.arange(len(encoded.distinct_of))
        if not len(rows):
            return values, np.empty(0, dtype=np.int64)
        if len(values) > distinct:
            total = RunningAggregation(distinct, values.shape[1], encoded.aggregation)
            for text, (start, stop) in enumerate(
                zip(encoded.first, encoded.first[1:], strict=False)
            ):
                for window in values[start:stop]:
                    total.add(text, window)
            logits = total.logits()
        else:
            logits = values
        deciding = encoded.deciding(values[encoded.windows_of(rows)], rows)
        return logits[encoded.distinct_of], deciding

    def _run(
        self, windows: Sequence[Ids], output: str, progress: Progress | None
    ) -> NDArray[np.float32]:
        """Return one output of windows, (W, ...) fp32, in their order."""
        width = next(one.shape[-1] for one in self.session.get_outputs() if one.name == output)
        found = np.empty((len(windows), width), dtype=np.float32)
        lengths = np.array([len(ids) for ids in windows], dtype=np.int64)
        with (progress or Silent()).task("scoring", total=len(windows), unit="messages") as task:
            for rows in padded_batches(lengths, BATCH_TOKENS):
                feed = dict(zip(INPUTS, padded([windows[row] for row in rows]), strict=True))
                found[rows] = self.session.run([output], feed)[0]
                task.advance(len(rows))
        return found
