"""The tasks: tables, splits and draws, by name and seed.

Data sets are read from a folder (`sms-spam/SMSSpamCollection`, `trec6/train.tsv`, ...); README
names their sources.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.data.splits import split_table
from tamis.data.tables import Table, read_table

SHOTS = (8, 16, 32, 64, 128)
"""Labels per class in the few-shot tasks on sms-spam."""
SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Task:
    """One split of one table."""

    name: str
    seed: int
    train_texts: list[str]
    train_labels: list[str]
    test_texts: list[str]
    test_labels: list[str]
    positive: str | None = None
    """the positive of two classes, for precision, recall and average precision"""


def tasks(data: Path) -> dict[str, Callable[[int], Task]]:
    """Return every task as a function from the seed to its rows."""

    def sms(split: str) -> Callable[[int], Task]:
        def make(seed: int) -> Task:
            table = read_table(data / "sms-spam" / "SMSSpamCollection")
            parts = split_table(table, split, seed=seed)
            train, test = parts.select("train"), parts.select("test")
            return Task(f"sms-{split}", seed, *_columns(train), *_columns(test), positive="spam")

        return make

    def sms_shots(count: int) -> Callable[[int], Task]:
        def make(seed: int) -> Task:
            whole = sms("tp2")(seed)
            rows = drawn(whole.train_labels, count, seed)
            return _subset(whole, rows, f"sms-tp2-{count}")

        return make

    def divided(
        folder: str, shots: int | None = None, positive: str | None = None
    ) -> Callable[[int], Task]:
        def make(seed: int) -> Task:
            train, test = (read_table(data / folder / f"{part}.tsv") for part in ("train", "test"))
            whole = Task(folder, seed, *_columns(train), *_columns(test), positive=positive)
            return (
                whole
                if shots is None
                else _subset(whole, drawn(whole.train_labels, shots, seed), f"{folder}-{shots}")
            )

        return make

    def split_by_seed(folder: str, positive: str | None = None) -> Callable[[int], Task]:
        def make(seed: int) -> Task:
            parts = split_table(read_table(data / folder / "all.tsv"), "leakfree", seed=seed)
            return Task(
                folder,
                seed,
                *_columns(parts.select("train")),
                *_columns(parts.select("test")),
                positive=positive,
            )

        return make

    def transfer(seed: int) -> Task:
        table = read_table(data / "sms-spam" / "SMSSpamCollection")
        mails = read_table(data / "spamassassin" / "all.tsv")
        return Task(
            "sms-to-spamassassin", seed, *_columns(table), *_columns(mails), positive="spam"
        )

    found: dict[str, Callable[[int], Task]] = {
        f"sms-{split}": sms(split) for split in ("tp2", "leakfree", "almeida")
    }
    found |= {f"sms-tp2-{count}": sms_shots(count) for count in SHOTS}
    for folder in ("trec6", "banking77", "tweeteval-offensive", "tweeteval-irony"):
        found[folder] = divided(folder)
        found[f"{folder}-10"] = divided(folder, 10)
    found["banking77-8"] = divided("banking77", 8)
    found["rotten-tomatoes"] = split_by_seed("rotten-tomatoes")
    found["spamassassin"] = split_by_seed("spamassassin", "spam")
    found["sms-to-spamassassin"] = transfer
    return found


def drawn(labels: list[str], count: int, seed: int) -> NDArray[np.int64]:
    """Return the rows of a random draw of `count` rows per class (all, if a class has fewer),
    ordered by class.
    """
    random = np.random.default_rng(seed)
    kinds = np.asarray(labels)
    return np.concatenate(
        [random.permutation(np.flatnonzero(kinds == kind))[:count] for kind in sorted(set(labels))]
    )


def _columns(table: Table) -> tuple[list[str], list[str]]:
    return list(table.texts), list(table.labels)


def _subset(task: Task, rows: NDArray[np.int64], name: str) -> Task:
    texts, labels = [task.train_texts[i] for i in rows], [task.train_labels[i] for i in rows]
    return Task(name, task.seed, texts, labels, task.test_texts, task.test_labels, task.positive)
