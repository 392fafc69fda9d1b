"""A small pretraining: forty short texts, a network of a few thousand weights, a teacher made of
hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.gpt2.model import GPT2, GPT2Config
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.corpus import Corpus
from tamis.training.pretraining.form_dropout import vary_forms
from tamis.training.pretraining.initialization import map_start, random_start
from tamis.training.pretraining.loop import Pretraining
from tamis.training.pretraining.losses import Student
from tamis.training.pretraining.recipe import PretrainRecipe
from tamis.training.pretraining.sequences import encode
from tamis.training.pretraining.teacher import TeacherStore

WORDS = (
    "free prize call now meet me later at the station hello lunch today win cash text stop "
    "sorry late home love".split()
)
DIMENSIONS = 7


def texts(count: int = 40, seed: int = 5) -> list[str]:
    random = np.random.default_rng(seed)
    return [
        " ".join(random.choice(WORDS, size=int(random.integers(1, 12)))) + str(i)
        for i in range(count)
    ]


class HashTeacher:
    """Vectors that depend on nothing but the text; counts what it is asked."""

    dimensions = DIMENSIONS
    folder = Path("hash-teacher")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def fingerprint(self) -> str:
        return "0" * 64

    def embed(self, some: Sequence[str]) -> NDArray[np.float32]:
        self.asked += some
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in some]
        rows = np.stack([np.random.default_rng(seed).normal(size=DIMENSIONS) for seed in seeds])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def store(folder: Path) -> TeacherStore:
    return TeacherStore(HashTeacher(), folder)  # type: ignore[arg-type] # what is used of a teacher


def corpus(count: int = 40) -> Corpus:
    some = texts(count)
    zeros = np.zeros(count, dtype=np.int16)
    return Corpus(some, zeros, some[:3], zeros[:3], ["only"], np.array([1.0]))


def recipe(changes: dict[str, Any]) -> PretrainRecipe:
    settings: dict[str, Any] = {
        "schedule.tokens": 900,
        "schedule.batch_tokens": 60,
        "schedule.warmup_tokens": 80,
        "schedule.measure_every": 400,
        "objective.lm_loss_share": 0.5,
    }
    return PretrainRecipe().changed(settings | changes)


def pretraining(folder: Path | None = None, changes: dict[str, Any] | None = None) -> Pretraining:
    """A new one; `folder` holds the teacher's vectors, None for no teacher."""
    settled, data = recipe(changes or {}), corpus()
    tokenizer = Tokenizer.train(data.texts, vocab_size=300).prepared(add_bos=True)
    model = GPT2(
        GPT2Config(vocab_size=tokenizer.size, n_positions=24, n_embd=12, n_layer=2, n_head=3)
    )
    random_start(model, settled.seed)
    vectors = None if folder is None else store(folder)
    pupil = Student(
        model, None if vectors is None else map_start(12, DIMENSIONS, None, settled.seed)
    )
    sequences = encode(data.texts, tokenizer, 24)
    if settled.objective.form_dropout:
        varied = encode(vary_forms(data.texts, settled.seed), tokenizer, 24)
        sequences = replace(sequences, varied=varied)
    return Pretraining(pupil, settled, data, sequences, vectors)


def weights(training: Pretraining) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in training.student.named_parameters()}
