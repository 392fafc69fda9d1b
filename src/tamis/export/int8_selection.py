"""Which matrices of an exported model are stored in 8 bits.

All of them at first. If labels or probabilities differ too much from fp32 on the given texts, the
matrices that change the logits most, each alone, go back to fp32, more of them at each step, until
they do not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.decision.verdict import DecisionRule
from tamis.errors import ConfigError
from tamis.export.onnx_predictor import OnnxPredictor
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.onnx.network import NetworkOptions, matrix_names, write_network
from tamis.gpt2.onnx.session import run_session
from tamis.progress import Progress, Silent
from tamis.text.encoder import TextEncoder

AGREEMENT = 0.998
"""Share of the texts whose label must stay: above the 99.5 % that is promised for new texts."""
MEAN_DIFFERENCE = 0.005
"""Largest mean difference of probabilities: labels of a few texts could agree by chance."""
MOST_TEXTS = 1000
"""Texts on which labels are compared."""
PROBED = 64
"""Texts that show how much each matrix changes the logits; every matrix costs a pass over them."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """The texts, and the answers in fp32 that the 8-bit model is compared with."""

    encoder: TextEncoder
    rule: DecisionRule
    labels: list[str]
    texts: Sequence[str]
    threads: int


@dataclass(frozen=True)
class Int8Choice:
    """The chosen matrices, and how the labels agree with fp32 on the texts that chose them."""

    int8: tuple[str, ...]
    fp32: tuple[str, ...]
    texts: int
    label_agreement: float
    mean_difference: float
    largest_difference: float
    """of probabilities"""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        agreement = ("texts", "label_agreement", "mean_difference", "largest_difference")
        return {
            "int8_matrices": list(self.int8),
            "fp32_matrices": list(self.fp32),
            "agreement": {name: getattr(self, name) for name in agreement},
        }

    @property
    def good(self) -> bool:
        """Whether the agreement is high enough."""
        return self.label_agreement >= AGREEMENT and self.mean_difference <= MEAN_DIFFERENCE


def choose_int8(
    model: GPT2Classifier, judge: Judge, opset: int, *, progress: Progress | None = None
) -> Int8Choice:
    """Choose the matrices that are stored in 8 bits.

    Args:
        model: in fp32.
        judge: texts and decision rule.
        opset: version of ONNX's operators.
        progress: receives progress updates.

    Raises:
        ConfigError: there are no texts.
        MissingExtraError: onnxruntime is not installed.
    """
    if not len(judge.texts):
        raise ConfigError(
            "int8: expected texts on which labels are compared with fp32, got none; export a run "
            "with evaluated rows, or pass a table of texts with --data"
        )
    texts = list(dict.fromkeys(judge.texts))[:MOST_TEXTS]
    names = matrix_names(model)
    shown = progress or Silent()
    with (
        tempfile.TemporaryDirectory(prefix="tamis-") as folder,
        shown.task("int8", total=2, unit="models") as task,
    ):

        def logits(int8: Sequence[str], texts: Sequence[str]) -> Matrix:
            path = Path(folder) / "model.onnx"
            write_network(model, path, NetworkOptions(opset, frozenset(int8)), {})
            session = run_session(path, threads=judge.threads)
            return OnnxPredictor(session, judge.encoder, judge.threads).logits(texts)

        exact = logits([], texts)
        task.advance()
        choice = _compared(judge, exact, logits(names, texts), names, [])
        task.advance()
        if choice.good:
            return choice
        few, changes = texts[:PROBED], {}
        with shown.task("int8, each matrix", total=len(names), unit="models") as each:
            for name in names:
                changes[name] = float(np.abs(logits([name], few) - exact[: len(few)]).mean())
                each.advance()
        worst = sorted(names, key=lambda name: -changes[name])
        kept = 1
        while kept < len(names):
            fp32 = set(worst[:kept])
            int8 = [name for name in names if name not in fp32]
            choice = _compared(
                judge, exact, logits(int8, texts), int8, [n for n in names if n in fp32]
            )
            if choice.good:
                return choice
            kept += max(1, kept // 2)
        return _compared(judge, exact, exact, [], names)


def _compared(
    judge: Judge, exact: Matrix, found: Matrix, int8: Sequence[str], fp32: Sequence[str]
) -> Int8Choice:
    before, after = judge.rule.probabilities(exact), judge.rule.probabilities(found)
    differences = np.abs(before - after).max(1)
    same = judge.rule.labels(before, judge.labels) == judge.rule.labels(after, judge.labels)
    return Int8Choice(
        tuple(int8),
        tuple(fp32),
        len(exact),
        float(same.mean()),
        float(differences.mean()),
        float(differences.max()),
    )
