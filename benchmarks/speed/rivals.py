"""The rivals: transformers as a network and as a pipeline, ONNX Runtime, OpenVINO, each with its
best batch size.

All read the last token: they run without the pooling block, which no other package has.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed import onnx_model, trainer
from tamis.workflows.benchmark_contenders import (
    Score,
    Subject,
    best_batch,
    transformers_is_here,
    transformers_model,
    without_pooling,
)

BATCH_TOKENS = (512, 2048)
"""Batch sizes tried with the exported rivals; the faster one is used."""


@dataclass(frozen=True)
class Rival:
    """A contender other than tamis."""

    name: str
    run: Score
    ceiling: str
    """The type that it computes in, whose ceiling its speed is a share of; empty if unknown."""
    batch: str
    """Description of the batch, such as `16 rows`; not part of the name, because the best one may
    differ when a measurement is resumed."""


def rivals(
    of: Subject, place: Path, threads: int, probe: Sequence[str], *, pipeline: bool = False
) -> Iterator[Rival]:
    """Yield every installed rival, tried on the texts of `probe`; files are written to `place`.

    `pipeline`: also transformers' pipeline.
    """
    if transformers_is_here():
        of_batch = transformers_model(of, place / "transformers")
        rows = best_batch(of_batch, probe)
        yield Rival("transformers fp32", of_batch(rows), "fp32", f"{rows} rows")
        if pipeline:
            of_batch = trainer.pipeline_of(place / "transformers")
            rows = best_batch(of_batch, probe)
            yield Rival("transformers pipeline fp32", of_batch(rows), "fp32", f"{rows} rows")
    if not (importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime")):
        return
    graph = onnx_model.export(without_pooling(of.model), place / "model.onnx")
    made = [("ONNX Runtime fp32", onnx_model.onnx_runtime, graph, "fp32")]
    made.append(("ONNX Runtime int8", onnx_model.onnx_runtime, onnx_model.quantised(graph), "int8"))
    if importlib.util.find_spec("openvino"):
        made.append(
            ("OpenVINO, its own type", onnx_model.openvino, graph, onnx_model.openvino_type(graph))
        )
    messages = of.tokenizer.encode(probe)
    for name, make, path, kind in made:
        runs = {tokens: make(path, threads=threads, batch_tokens=tokens) for tokens in BATCH_TOKENS}
        best = min(runs, key=lambda tokens: _seconds(runs[tokens], messages))
        yield Rival(name, _from_texts(of, runs[best]), kind, f"{best} tokens")


def _from_texts(of: Subject, run: onnx_model.Run) -> Score:
    return lambda texts: run(of.tokenizer.encode(texts))


def _seconds(run: onnx_model.Run, messages: Sequence[onnx_model.Ids]) -> float:
    begun = time.perf_counter()
    run(messages)
    return time.perf_counter() - begun
