"""The transformers contenders: GPT2ForSequenceClassification with Trainer and with the pipeline,
padded to the longest message of a batch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.shared import Rows


def train(
    folder: Path,
    rows: Rows,
    how: str,
    *,
    epochs: int,
    group_by_length: bool,
    batch: int = 16,
    learning_rate: float = 5e-5,
) -> float:
    """Return the seconds of `Trainer.train()`, without loading, tokenizing and evaluation.

    Args:
        folder: the backbone.
        rows: training rows.
        how: `frozen` (head and final LayerNorm trained), `blocks:2` (also the last two blocks) or
            `full`.
        epochs: number of epochs.
        group_by_length: whether batches have similar lengths.
        batch: rows per step.
        learning_rate: learning rate of AdamW.
    """
    with _prepared(
        folder,
        rows.train_texts,
        rows.train_labels,
        how,
        epochs,
        group_by_length,
        batch,
        learning_rate,
    ) as (trainer, _):
        begun: float = time.perf_counter()
        trainer.train()
        return time.perf_counter() - begun


def whole_job(folder: Path, rows: Rows, *, group_by_length: bool, batch: int = 16) -> float:
    """Return the seconds of the TP2 job with Trainer: one epoch over head and final LayerNorm, then
    the figures of training and test rows.

    Loading and tokenizing are included, as for tamis; prediction batches are padded to their
    longest message, in the order of the rows.
    """
    from sklearn.metrics import f1_score

    begun = time.perf_counter()
    with _prepared(
        folder, rows.train_texts, rows.train_labels, "frozen", 1, group_by_length, batch, 5e-5
    ) as (trainer, encoded):
        trainer.train()
        for texts, truth in (
            (rows.train_texts, rows.train_labels),
            (rows.test_texts, rows.test_labels),
        ):
            f1_score(
                truth,
                trainer.predict(encoded(texts, truth)).predictions.argmax(1),
                zero_division=0.0,
            )
        return time.perf_counter() - begun


@contextmanager
def _prepared(
    folder: Path,
    texts: list[str],
    labels: Any,
    how: str,
    epochs: int,
    group_by_length: bool,
    batch: int,
    learning_rate: float,
) -> Iterator[tuple[Any, Callable[[list[str], Any], list[dict[str, Any]]]]]:
    """Yield a Trainer before its training, and a function that makes rows for it."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = "<|endoftext|>"
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    model.config.pad_token_id = tokenizer.pad_token_id
    freeze(model, how)

    def encoded(texts: list[str], labels: Any) -> list[dict[str, Any]]:
        found = tokenizer(texts, truncation=True, max_length=1024)["input_ids"]
        return [
            {"input_ids": ids or [50256], "labels": int(label)}
            for ids, label in zip(found, labels, strict=True)
        ]

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch,
            per_device_eval_batch_size=batch,
            learning_rate=learning_rate,
            train_sampling_strategy="group_by_length" if group_by_length else "random",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        data = encoded(texts, labels)
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=data,
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        yield trainer, encoded


def pipeline_of(folder: Path) -> Callable[[int], Callable[[Sequence[str]], Any]]:
    """Return the text-classification pipeline of a folder: batch size -> texts, sorted by length as
    its documentation advises.

    It returns a dict of `label` and `score` for each text in that order. Texts are truncated to the
    tokenizer's `model_max_length`.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = tokenizer.pad_token_id
    classify: Any = pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device=torch.device("cpu")
    )

    def of_batch(rows: int) -> Callable[[Sequence[str]], Any]:
        return lambda texts: classify(sorted(texts, key=len), batch_size=rows, truncation=True)

    return of_batch


def freeze(model: Any, how: str) -> None:
    """Make trainable: the head and the final LayerNorm, also the last K blocks (`blocks:K`), or
    everything (`full`).
    """
    if how == "full":
        return
    last = int(how.removeprefix("blocks:")) if how.startswith("blocks:") else 0
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    trunk = model.transformer
    for module in (*(trunk.h[len(trunk.h) - last :] if last else ()), trunk.ln_f, model.score):
        for parameter in module.parameters():
            parameter.requires_grad_(True)
