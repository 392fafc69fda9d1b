"""Whole jobs of tamis and its rivals: the TP2 job and one training. Texts are changed in every
round.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed import jobs, reference, trainer
from benchmarks.speed.shared import Rows, gpt2_tokenizer, renewed, trunk

Contenders = dict[str, Callable[[int], float]]


def job(folder: Path, data: Rows, threads: int, loop_data: Rows | None = None) -> Contenders:
    """Return the contenders of the TP2 job: the reference's loop, transformers' Trainer if
    accelerate is installed, tamis with both poolings, and the command of tamis with its report.

    `loop_data`: the rows of the reference's loop, if different from `data`.
    """
    loop_data = loop_data or data
    model, tokenizer = trunk(), gpt2_tokenizer().prepared(add_bos=False)

    def loop(number: int) -> float:
        train, test = (
            tokenizer.encode(renewed(texts, number))
            for texts in (loop_data.train_texts, loop_data.test_texts)
        )
        return reference.run_job(model, train, loop_data.train_labels, test).whole

    def ours(position: str) -> Callable[[int], float]:
        return lambda number: jobs.whole_job(
            folder, _new(data, number), position=position, threads=threads
        )

    contenders: Contenders = {"reference loop": loop}
    if importlib.util.find_spec("accelerate") is not None:
        contenders["Trainer, padded to the batch"] = lambda n: trainer.whole_job(
            folder, _new(data, n), group_by_length=False
        )
        contenders["Trainer, grouped by length"] = lambda n: trainer.whole_job(
            folder, _new(data, n), group_by_length=True
        )
    return contenders | {
        "tamis, mean pooling": ours("mean"),
        "tamis, last token": ours("last_token"),
        "tamis train, the command with its report": lambda number: jobs.by_command(
            folder, _new(data, number), threads=threads
        ),
    }


def train(folder: Path, data: Rows, how: str, epochs: int) -> Contenders:
    """Return the contenders of one training: transformers' Trainer with dynamic padding and with
    length grouping, and tamis.
    """
    tune = "head" if how == "frozen" else how
    settings: dict[str, Any] = {"text.pooling": "last_token", "train.batch_rows": 16}
    if how == "frozen":
        settings["train.head_solver"] = "adamw"
    else:
        settings |= {"train.head_init": "random", "train.wise_ft": 0.0}
    return {
        "Trainer, padded to the batch": lambda n: trainer.train(
            folder, _new(data, n), how, epochs=epochs, group_by_length=False
        ),
        "Trainer, grouped by length": lambda n: trainer.train(
            folder, _new(data, n), how, epochs=epochs, group_by_length=True
        ),
        "tamis": lambda n: jobs.train(
            folder, _new(data, n), tune, epochs=epochs, settings=settings
        ),
    }


def _new(data: Rows, number: int) -> Rows:
    return replace(
        data,
        train_texts=renewed(data.train_texts, number),
        test_texts=renewed(data.test_texts, number),
    )
