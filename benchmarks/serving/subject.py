"""The served model and its texts: a run, or a random GPT-2 of any size."""

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
    """Return the distinct texts of a table in order."""
    return list(dict.fromkeys(read_table(catalog.resolve(data).path).texts))


def sample(texts: list[str], count: int) -> list[str]:
    """Return a fixed random sample of the texts; all of them if there are fewer."""
    return random.Random(42).sample(texts, min(count, len(texts)))


def trained(folder: Path, data: str, threads: int | None) -> Path:
    """Train a run: all blocks of `nano`, only the head trained. It stores its training rows, so it
    can learn from corrections.
    """
    layers = load_backbone("nano").model.config.n_layer  # by default a head may use fewer blocks
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
    """Create a classifier with random weights in GPT-2's architecture: speed does not depend on
    weights.

    12 layers of width 768 are GPT-2 124M.
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
