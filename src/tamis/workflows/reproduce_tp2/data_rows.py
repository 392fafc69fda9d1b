"""Questions 5 to 7: the split, the class shares, the batches."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.config import Recipe
from tamis.data.splits import DataSplit
from tamis.text.tokenizer import Tokenizer
from tamis.workflows.reproduce_tp2 import reported
from tamis.workflows.reproduce_tp2.table_rows import Table
from tamis.workflows.reproduce_tp2.wording import percent


@dataclass(frozen=True)
class DataFacts:
    """What the answers to questions 5 to 7 need."""

    sought: str
    """The class whose recall is asked for."""
    majority: str
    """The class with the most training rows."""
    counts: dict[str, dict[str, int]]
    """Rows per class, of the parts `train` and `test`."""
    unshuffled: tuple[float, float]
    """Share of `sought` in the first 80 % and in the last 20 % of the file, in its own order."""
    longest_run: tuple[str, int]
    """The class and the number of rows of the longest run of one class in the file."""
    repeated: bool
    """Whether a second split gave the same rows."""
    split: str
    tokens: NDArray[np.int64]
    """(R,) length of each training message in tokens, before it is truncated or padded."""
    length: int | None
    """Tokens that every message is padded to; None without padding."""
    batch: int | None
    """Rows per batch; None if batches are made by their number of tokens."""

    @property
    def rows(self) -> dict[str, int]:
        """Number of rows per part."""
        return {part: sum(counts.values()) for part, counts in self.counts.items()}

    def share(self, label: str, part: str) -> float:
        """Share of a class in a part."""
        return self.counts[part][label] / self.rows[part]

    @property
    def majority_accuracy(self) -> float:
        """Test accuracy of the rule that always predicts the class with the most training rows."""
        return self.share(self.majority, "test")

    @property
    def batches(self) -> int | None:
        """Number of training batches of an epoch."""
        return None if self.batch is None else math.ceil(self.rows["train"] / self.batch)

    @property
    def last_batch(self) -> int | None:
        """Rows of the last batch."""
        return None if self.batch is None else (self.rows["train"] - 1) % self.batch + 1

    @property
    def truncated(self) -> int:
        """Training messages that are longer than `length`."""
        return 0 if self.length is None else int((self.tokens > self.length).sum())

    @property
    def padded(self) -> float:
        """Share of the training messages that end in padding."""
        return 0.0 if self.length is None else float((self.tokens < self.length).mean())

    @property
    def filler_tokens(self) -> float:
        """Mean number of padding tokens of a training message."""
        if self.length is None:
            return 0.0
        return float(self.length - np.minimum(self.tokens, self.length).mean())

    @property
    def filler(self) -> float:
        """Share of the positions of the padded training messages that are padding."""
        return 0.0 if self.length is None else self.filler_tokens / self.length


def data_facts(
    split: DataSplit, again: DataSplit, recipe: Recipe, tokenizer: Tokenizer
) -> DataFacts:
    """Measure a split; `again` is the same split, made a second time."""
    counts = {"train": split.counts("train"), "test": split.counts("test")}
    train = counts["train"]
    classes = list(split.table.classes)
    sought = recipe.data.positive
    if sought not in classes:
        sought = min(classes, key=lambda label: train[label])
    labels = split.table.labels
    border = int(0.8 * len(labels))
    runs = [(label, sum(1 for _ in run)) for label, run in itertools.groupby(labels)]
    prepared = tokenizer.prepared(add_bos=False)
    return DataFacts(
        sought=sought,
        majority=max(classes, key=lambda label: train[label]),
        counts=counts,
        unshuffled=(
            Counter(labels[:border])[sought] / max(1, border),
            Counter(labels[border:])[sought] / max(1, len(labels) - border),
        ),
        longest_run=max(runs, key=lambda run: run[1]),
        repeated=bool(
            np.array_equal(split.train, again.train) and np.array_equal(split.test, again.test)
        ),
        split=split.name,
        tokens=np.array([len(ids) for ids in prepared.encode(split.texts("train"))]),
        length=recipe.text.fixed_length,
        batch=recipe.train.batch_rows,
    )


def data_rows(table: Table, facts: DataFacts) -> None:
    """Add the rows of questions 5 to 7."""
    rows = facts.rows
    table.add("5.1", "rows", f"{rows['train']} train, {rows['test']} test", "4457 train, 1115 test")
    table.add(
        "5.1", "split in a second run", "the same" if facts.repeated else "different", "the same"
    )
    first, last = facts.unshuffled
    table.add(
        "5.1",
        f"share of {facts.sought} without shuffling",
        f"{percent(first)} in the first 80 % of the file, {percent(last)} in the rest",
    )
    for part, classes in facts.counts.items():
        for label, count in classes.items():
            given = reported.COUNTS[part].get(label)
            table.add(
                "5.2",
                f"{part}: {label}",
                f"{count} ({percent(count / rows[part])})",
                "" if given is None else f"{given} ({percent(given / reported.ROWS[part])})",
            )
    table.add(
        "5.2",
        f"test accuracy of always {facts.majority}",
        percent(facts.majority_accuracy),
    )
    length, batch = facts.length, facts.batch
    size = "messages by tokens" if batch is None else str(batch)
    shape = f"[{size}, {'longest' if length is None else length}] and [{size}]"
    table.add("6", "batch shapes", shape, "[16, 120] and [16]")
    if length is not None:
        table.add("6", f"train messages longer than {length} tokens (truncated)", facts.truncated)
        table.add("6", "positions of a batch that are padding", percent(facts.filler))
    table.add("7", "train rows, no undersampling", rows["train"], 4457)
    if batch is not None:
        table.add("7", f"batches of {batch}", facts.batches, 279)
        table.add("7", "rows of the last batch", facts.last_batch)
