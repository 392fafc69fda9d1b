"""The same training twice: tamis and transformers' network with the same initial weights, on the
same batches in the same order, without dropout.

Only then are seconds per epoch comparable: both must give the same loss curve (to 1e-3 in fp32), so
the faster one did the same work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.speed.shared import Rows
from benchmarks.speed.trainer import freeze
from tamis.classifier.text_classifier import TextClassifier
from tamis.text.tokenizer import Tokenizer
from tamis.training.callbacks import Callbacks

BATCH, RATE, SEED = 16, 5e-5, 42
SETTINGS: dict[str, Any] = {
    "text.pooling": "last_token",
    "text.add_bos": False,
    "train.batch_rows": BATCH,
    "train.learning_rate": RATE,
    "train.head_learning_rate": RATE,
    "train.weight_decay": 0.0,
    "train.schedule": "constant",
    "train.warmup_ratio": 0.0,
    "train.clip_norm": 1.0,
    "train.dropout": 0.0,
    "train.token_dropout": 0.0,
    "train.lm_loss_weight": 0.0,
    "train.head_init": "random",
    "train.wise_ft": 0.0,
    "train.head_solver": "adamw",
    "train.patience": 0,
}


@dataclass(frozen=True)
class Curve:
    """The result of one training."""

    seconds: float
    losses: list[float]
    """Losses before each step."""


def usable(rows: Rows) -> Rows:
    """Return distinct training rows, cut to whole batches; a partial batch would continue in the
    next epoch.
    """
    places = list({text: i for i, text in reversed(list(enumerate(rows.train_texts)))}.values())[
        ::-1
    ]
    places = places[: len(places) // BATCH * BATCH]
    return Rows(
        [rows.train_texts[i] for i in places],
        rows.train_labels[places],
        rows.test_texts,
        rows.test_labels,
    )


def ours(folder: Path, rows: Rows, tune: str, *, epochs: int) -> Curve:
    """Train with tamis through its public functions; the time includes the blocks below the lowest
    trained one.
    """
    begun: list[float] = []
    classifier = TextClassifier(
        str(folder), tune, seed=SEED, settings={**SETTINGS, "train.epochs": epochs}
    )
    classifier.fit(
        rows.train_texts,
        ["spam" if label else "ham" for label in rows.train_labels],
        validation=np.arange(0),
        callbacks=Callbacks(on_resolved=lambda _: begun.append(time.perf_counter())),
    )
    return Curve(
        time.perf_counter() - begun[0],
        [row["loss"] for row in classifier.training_.history if "loss" in row],
    )


def theirs(folder: Path, rows: Rows, tune: str, *, epochs: int) -> Curve:
    """Train transformers' network, padded to the longest message of each batch, on the batches that
    tamis draws.

    The steps are those of its Trainer (AdamW, clipping, a constant rate) in a plain loop, without
    Trainer's overhead: a ratio to this loop is slightly smaller than one to Trainer.
    """
    model, pad = _network(folder, tune)
    ids = Tokenizer.from_folder(folder).prepared(add_bos=False).encode(rows.train_texts)
    optimizer = torch.optim.AdamW(
        (p for p in model.parameters() if p.requires_grad), lr=RATE, weight_decay=0.0
    )
    losses: list[float] = []
    begun = time.perf_counter()
    model.train()
    for epoch in range(epochs):
        order = np.random.default_rng([SEED, epoch]).permutation(
            len(ids)
        )  # the order of `Training.fit_rows_of`
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            longest = max(len(ids[i]) for i in part)
            filled = torch.full((len(part), longest), pad)
            mask = torch.zeros_like(filled)
            for row, i in enumerate(part):
                filled[row, : len(ids[i])] = torch.from_numpy(ids[i].astype(np.int64))
                mask[row, : len(ids[i])] = 1
            optimizer.zero_grad()
            # tamis numbers classes in sorted order: ham 0, spam 1.
            loss = F.cross_entropy(
                model(input_ids=filled, attention_mask=mask).logits,
                torch.from_numpy(rows.train_labels[part]),
            )
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
    return Curve(time.perf_counter() - begun, losses)


def _network(folder: Path, tune: str) -> tuple[Any, int]:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(
        folder, num_labels=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    # The class searches for the last token that is not padding, so padding must be an id that ends
    # no message.
    config.pad_token_id = (
        config.vocab_size - 1 if config.pad_token_id is None else config.pad_token_id
    )
    model = AutoModelForSequenceClassification.from_pretrained(folder, config=config)
    freeze(model, tune)
    # The head that tamis draws: torch's generator at the seed, used for nothing before.
    torch.manual_seed(SEED)
    torch.nn.init.normal_(model.score.weight.data, std=0.02)
    return model, int(config.pad_token_id)
