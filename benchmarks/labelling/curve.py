r"""Active learning curves: the figure after a number of labels, for each strategy and for random
choice, over seeds.

    PYTHONPATH=src:. python -m benchmarks.labelling.curve --data DATA --out FILE \
        [--task sms-spam --seeds 5]

The head is refitted on nano's cached features after every batch of labels, and evaluated on the
test
rows of a split without near-duplicates across its parts. The file has one JSON line per curve; an
interrupted run is resumed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.query_strategies import STRATEGIES, Strategy, select
from tamis.data.deduplication import near_repeat_groups
from tamis.data.splits import split_table
from tamis.data.tables import Table, read_table
from tamis.gpt2.backbones import load_backbone
from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.pooling import add_mean_pooling
from tamis.head.linear_head import solve
from tamis.head.refit import features_of
from tamis.text.encoding import EncodedTexts

START, BATCH, MOST = 30, 30, 300
INVERSE_PENALTY = 100.0
FILES = {"sms-spam": "sms-spam/SMSSpamCollection", "trec6": "trec6/train.tsv"}


def rows_of(task: str, data: Path, seed: int) -> tuple[Table, Table]:
    """Return pool and test rows: the task's own test file, or a leak-free split by seed."""
    table = read_table(data / FILES[task])
    if task == "trec6":
        return table, read_table(data / "trec6" / "test.tsv")
    parts = split_table(table, "leakfree", seed=seed)
    return parts.select("train"), parts.select("test")


def start_rows(targets: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the first labelled rows: random, with at least two of every class."""
    order = np.random.default_rng(seed).permutation(len(targets))
    sure = np.concatenate([order[targets[order] == k][:2] for k in np.unique(targets)])
    return np.concatenate([sure, order[~np.isin(order, sure)][: START - len(sure)]])


def curve(
    pool: NDArray[np.float64],
    targets: NDArray[np.int64],
    test: NDArray[np.float64],
    truth: NDArray[np.int64],
    unlike: NDArray[np.int64],
    strategy: Strategy,
    seed: int,
) -> list[tuple[int, float, int]]:
    """Return (labels, figure, rows of the rarest class among them) after every batch."""
    labelled = start_rows(targets, seed)
    points = []
    while True:
        head = solve(
            pool[labelled],
            targets[labelled],
            np.ones(len(labelled)),
            INVERSE_PENALTY,
            tolerance=1e-4,
        ).head
        rare = int(np.bincount(targets[labelled]).min())
        points.append((len(labelled), figure(softmax(head.logits(test)), truth), rare))
        if len(labelled) >= MOST:
            return points
        # One row of each group of near-duplicates, none similar to a labelled row, as in `tamis
        # suggest`.
        left = np.flatnonzero(~np.isin(unlike, unlike[labelled]))
        left = left[np.unique(unlike[left], return_index=True)[1]]
        probabilities = softmax(head.logits(pool[left]))
        chosen = select(
            pool[left], probabilities, BATCH, strategy=strategy, seed=seed + len(labelled)
        )
        labelled = np.concatenate([labelled, left[chosen]])


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K) -> (N, K)."""
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))


def figure(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Return the average precision of the rarer of two classes; the accuracy for more classes."""
    from sklearn.metrics import average_precision_score

    if probabilities.shape[1] == 2:
        rare = int(np.bincount(truth).argmin())
        return float(average_precision_score(truth == rare, probabilities[:, rare]))
    return float((probabilities.argmax(1) == truth).mean())


def main() -> None:
    """Compute the missing curves of the file, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", choices=list(FILES), action="append")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    done = (
        [json.loads(line) for line in options.out.read_text().splitlines()]
        if options.out.exists()
        else []
    )
    backbone = load_backbone("nano")
    tokenizer, trunk = backbone.tokenizer.prepared(add_bos=True), add_mean_pooling(backbone.model)
    for task in options.task or list(FILES):
        for seed in range(options.seeds):
            missing = [
                s
                for s in STRATEGIES
                if not any((d["task"], d["seed"], d["strategy"]) == (task, seed, s) for d in done)
            ]
            if not missing:
                continue
            pool, test = rows_of(task, options.data, seed)
            both = Table.of(
                [*sorted({*pool.texts, *test.texts})], [""] * len({*pool.texts, *test.texts})
            )
            messages = EncodedTexts.encode(both.texts, tokenizer, context=trunk.config.n_positions)
            features = features_of(trunk, messages, cache=FeatureCache(options.cache)).astype(
                np.float64
            )
            place = {text: row for row, text in enumerate(both.texts)}
            classes = list(pool.classes)
            own, asked = (features[[place[t] for t in table.texts]] for table in (pool, test))
            targets, truth = (
                np.array([classes.index(label) for label in table.labels]) for table in (pool, test)
            )
            unlike = near_repeat_groups(pool.texts)
            for strategy in missing:
                begun = time.perf_counter()
                points = curve(own, targets, asked, truth, unlike, strategy, seed)
                found = {
                    "task": task,
                    "seed": seed,
                    "strategy": strategy,
                    "points": points,
                    "seconds": time.perf_counter() - begun,
                }
                done.append(found)
                with options.out.open("a") as file:
                    file.write(json.dumps(found) + "\n")
    print("\n".join(lines(done)))


def lines(done: list[dict[str, object]]) -> list[str]:
    """Return a table per task: mean and standard deviation over seeds after the numbers of
    labels.
    """
    out = []
    for task in dict.fromkeys(str(d["task"]) for d in done):
        out.append(task)
        for strategy in STRATEGIES:
            curves = np.array(
                [d["points"] for d in done if d["task"] == task and d["strategy"] == strategy],
                dtype=float,
            )
            if len(curves):
                cells = [
                    f"{int(n)}: {m:.3f} ({s:.3f})"
                    for n, m, s in zip(
                        curves[0, :, 0],
                        curves[:, :, 1].mean(0),
                        curves[:, :, 1].std(0),
                        strict=True,
                    )
                ]
                out.append(
                    f"  {strategy:10s} {'  '.join(cells[::2])}  rarest "
                    f"{curves[:, -1, 2].mean():.0f}"
                )
    return out


if __name__ == "__main__":
    main()
