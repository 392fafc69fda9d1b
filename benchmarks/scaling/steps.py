"""What a training step of `nano` costs the processes that share it: processor time and bytes.

Steps of one process, in one part, two and four, in turn; then the same steps shared by two
processes of one thread each. What more parts cost is what more processes cost at least: each reads
all matrices and writes all gradients.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.compute.isolation import torch_threads
from tamis.gpt2.backbones import load_backbone
from tamis.gpt2.features import FeatureExtractor, all_tokens
from tamis.gpt2.freezing import freeze, trained_parameters
from tamis.gpt2.lora import add_lora
from tamis.gpt2.model import GPT2Classifier
from tamis.gpt2.pooling import add_mean_pooling, unfolded
from tamis.text.encoding import EncodedTexts
from tamis.training import side_by_side
from tamis.training.distributed.team import team
from tamis.training.gradients import StepRows, divisors
from tamis.training.loop import Training
from tamis.training.shared_steps import share
from tamis.training.state import LoopRows, LoopSettings
from tamis.training.step_batch import to_arrays

TUNES = ("full", "blocks:2", "lora:8")
BATCH_TOKENS = {"full": 512, "blocks:2": 1024, "lora:8": 1024}
"""Tokens of a step, by default."""
PARTS = (1, 2, 4)
FOLLOW = "from tamis.training.following import follow\nfollow()"
TICKS = os.sysconf("SC_CLK_TCK")


def texts(data: Path, count: int) -> EncodedTexts:
    """Return the first messages of the SMS Spam Collection as tokens of `nano`."""
    backend = load_backbone("nano").tokenizer.backend
    lines = data.read_text(encoding="utf-8").splitlines()[:count]
    windows = tuple(
        np.array(backend.encode(line.partition("\t")[2]).ids[:256] or [0], dtype=np.int32)
        for line in lines
    )
    return EncodedTexts(windows, np.arange(len(windows) + 1), np.arange(len(windows)))


def training(tune: str, messages: EncodedTexts) -> Training:
    """Return a training with the default settings of the step."""
    torch.manual_seed(42)
    trunk = add_mean_pooling(load_backbone("nano").model)
    model, start, frozen = GPT2Classifier(trunk, 2), 0, None
    if tune == "full":
        freeze(model)
        trunk.set_dropout(0.1)
    elif tune.startswith("blocks"):
        unfolded(trunk, trainable=True)
        start = freeze(model, blocks=int(tune.partition(":")[2]))
        frozen = all_tokens(trunk, messages, start)
    else:
        freeze(model, head_only=True)
        generator = torch.Generator().manual_seed(42)
        add_lora(trunk, int(tune.partition(":")[2]), generator=generator)
        trunk.ln_f.requires_grad_(True)
    states = FeatureExtractor(messages, start, frozen, whole=False)
    rows = np.arange(len(messages.windows))
    none = np.array([], dtype=np.int64)
    data = LoopRows(states, rows % 2, np.ones(2), rows, none)
    return Training(model, data, _settings(BATCH_TOKENS[tune]))


def _settings(batch_tokens: int) -> LoopSettings:
    return LoopSettings(
        epochs=1,
        learning_rate=1e-5,
        head_learning_rate=1e-5,
        weight_decay=0.01,
        decay_everything=False,
        warmup_ratio=0.0,
        schedule="constant",
        clip_norm=1.0,
        batch_rows=None,
        batch_tokens=batch_tokens,
        micro_batch_tokens=16_384,
        undersample=False,
        label_smoothing=0.0,
        lm_loss_weight=0.0,
        lm_loss_share=1.0,
        token_dropout=0.0,
        autocast=None,
        seed=42,
    )


def measure(data: Path, tune: str, *, steps: int, rounds: int) -> dict[str, Any]:
    """Return the figures of a kind of training, per step; the medians of all rounds."""
    messages = texts(data, 2_000)
    with torch_threads(1):
        one = training(tune, messages)
        chosen = list(one.steps_of(0))[:steps]
        found: dict[str, list[float]] = {}
        _alone(one, chosen[:1])  # the first step allocates
        for _ in range(rounds):
            for parts in PARTS:
                with _parts(parts):
                    gradients, rest = _alone(one, chosen)
                found.setdefault(f"gradients_ms_in_{parts}", []).append(gradients)
                found.setdefault("rest_ms", []).append(rest)
        with _follower() as process, team():
            shared = training(tune, messages)
            share(shared, 2)
            _together(shared, chosen[:1], process.pid)  # sends the network
            for _ in range(rounds):
                first, second = _together(shared, chosen, process.pid)
                found.setdefault("first_of_2_ms", []).append(first)
                found.setdefault("second_of_2_ms", []).append(second)
    medians = {name: round(statistics.median(each), 2) for name, each in found.items()}
    tokens = [int(messages.tokens[rows].sum()) for rows in chosen]
    return medians | {
        "tokens": round(statistics.mean(tokens), 1),
        "trained_weights": trained_parameters(one.model),
        "row_bytes": round(statistics.mean(_row_bytes(one, rows) for rows in chosen)),
    }


def _alone(one: Training, chosen: list[NDArray[np.int64]]) -> tuple[float, float]:
    """Take steps; return the processor time of the gradients and of the rest, in ms per step."""
    data = StepRows(one.states, one.targets)
    of_gradients = whole = 0.0
    for rows in chosen:
        by = divisors(data, rows, one.weights, one.settings)
        one.optimizer.zero_grad()
        begun = time.process_time()
        one.gradients.add(data, rows, by)
        of_gradients += time.process_time() - begun
        begun = time.process_time()
        one.train_step(rows, one.states)
        whole += time.process_time() - begun
    scale = 1e3 / len(chosen)
    return of_gradients * scale, max(0.0, whole - of_gradients) * scale


def _together(
    shared: Training, chosen: list[NDArray[np.int64]], second: int
) -> tuple[float, float]:
    """Take shared steps; return the processor time of both processes, in ms per step."""
    begun, other = time.process_time(), _seconds(second)
    for rows in chosen:
        shared.train_step(rows, shared.states)
    scale = 1e3 / len(chosen)
    return (time.process_time() - begun) * scale, (_seconds(second) - other) * scale


def _row_bytes(one: Training, rows: NDArray[np.int64]) -> int:
    """Return the size of what is sent of the rows of a step."""
    arrays = to_arrays(StepRows(one.states, one.targets), rows)
    return sum(array.nbytes for array in arrays.values())


@contextmanager
def _parts(count: int) -> Iterator[None]:
    before = side_by_side.PARTS
    side_by_side.PARTS = count
    try:
        yield
    finally:
        side_by_side.PARTS = before


@contextmanager
def _follower() -> Iterator[subprocess.Popen[bytes]]:
    """Start a second process, as torchrun would; in the block this one is the first."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    told = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    before = os.environ.copy()
    other = subprocess.Popen(
        [sys.executable, "-c", FOLLOW],
        env=before | told | {"RANK": "1", "LOCAL_RANK": "1"},
    )
    os.environ.update(told | {"RANK": "0", "LOCAL_RANK": "0"})
    try:
        yield other
        other.wait(60)
    finally:
        other.kill()
        other.wait()
        os.environ.clear()
        os.environ.update(before)


def _seconds(pid: int) -> float:
    """Return the processor time of another process (Linux)."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / TICKS
