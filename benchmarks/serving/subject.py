"""What is served: a run and texts to ask it, or a random GPT-2 of any size."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.serving.process import ROOT, environment
from benchmarks.speed.shared import gpt2_tokenizer
from tamis.classifier.saved_model import SavedModel, save_model
from tamis.data import catalog
from tamis.data.tables import read_table
from tamis.gpt2.backbones import load_backbone
from tamis.gpt2.model import GPT2, GPT2Classifier, GPT2Config, initialise

LABELS = ["ham", "spam"]


def distinct_texts(data: str) -> list[str]:
    """The texts of a table, each once, in their order."""
    return list(dict.fromkeys(read_table(catalog.resolve(data).path).texts))


def sample(texts: list[str], count: int) -> list[str]:
    """So many of the texts, at random and always the same; all of them where they are fewer."""
    return random.Random(42).sample(texts, min(count, len(texts)))


def trained(folder: Path, data: str, threads: int | None) -> Path:
    """A run made here: all of `nano`, the head alone solved; it keeps its training rows, so it
    learns from corrections as runs do.
    """
    layers = load_backbone(
        "nano"
    ).model.config.n_layer  # by itself a head may want a part of the blocks
    whole = ["--backbone", "nano", "--tune", "head", "--set", f"text.layers={layers}"]
    command = [sys.executable, "-m", "tamis", "train", data, *whole, "-o", str(folder)]
    subprocess.run(
        [*command, *(["--threads", str(threads)] if threads else [])],
        check=True,
        cwd=ROOT,
        env=environment(),
        stdout=sys.stderr,
    )
    return folder


def random_gpt2(folder: Path, *, layers: int, width: int) -> Path:
    """A classifier of GPT-2's shape with random weights: speed does not depend on them. 12 layers
    of 768 are GPT-2 124M.
    """
    config = GPT2Config(n_layer=layers, n_embd=width, n_head=max(1, width // 64))
    trunk = GPT2(config)
    generator = torch.Generator().manual_seed(42)
    initialise(trunk, generator)
    model = GPT2Classifier(trunk, len(LABELS))
    with torch.no_grad():
        model.score.weight.normal_(generator=generator)
    save_model(folder, SavedModel(model.eval(), gpt2_tokenizer().prepared(add_bos=True), LABELS))
    return folder
