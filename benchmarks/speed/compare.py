"""tamis beside what its users would pick today, on one machine, in one run, in turn: ratios, not seconds.

    python -m benchmarks.speed.compare job --data ../shared/data/sms-spam/SMSSpamCollection --share 0.05 --json job.json
    python -m benchmarks.speed.compare train --how blocks:2 --epochs 3 ...
    python -m benchmarks.speed.compare predict ...

`job` is the whole TP2 job; `train` one tuning beside transformers' Trainer; `predict` bulk scoring beside transformers' pipeline. Every
round also measures the ceiling of bare matrix products, so each figure is a share of the limit as well. Texts are new in every round.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed import jobs, reference, trainer
from benchmarks.speed.shared import Rows, Timed, ceiling, gpt2_tokenizer, in_turn, renewed, rows, trunk, written
from tamis import device as devices
from tamis.classifier import TextClassifier
from tamis.console import say, table

Contenders = dict[str, Callable[[int], float]]


def job(folder: Path, data: Rows, threads: int) -> Contenders:
    """The whole TP2 job: the reference's loop, and tamis with either pooling."""
    model, tokenizer = trunk(), gpt2_tokenizer().prepared(begin=False)

    def loop(number: int) -> float:
        train, test = (tokenizer.encode(renewed(texts, number)) for texts in (data.train_texts, data.test_texts))
        return reference.run_job(model, train, data.train_labels, test).whole

    def ours(position: str) -> Callable[[int], float]:
        return lambda number: jobs.whole_job(folder, _new(data, number), position=position, threads=threads)

    return {"reference loop": loop, "tamis, mean pooling": ours("mean"), "tamis, last token": ours("last_real")}


def train(folder: Path, data: Rows, how: str, epochs: int) -> Contenders:
    """One tuning: transformers' Trainer with dynamic padding and with length grouping, and tamis."""
    tune = "head" if how == "frozen" else how
    settings: dict[str, Any] = {"text.position": "last_real", "train.batch_rows": 16}
    if how == "frozen":
        settings["train.head"] = "epochs"
    return {
        "Trainer, padded to the batch": lambda n: trainer.train(folder, _new(data, n), how, epochs=epochs, group_by_length=False),
        "Trainer, grouped by length": lambda n: trainer.train(folder, _new(data, n), how, epochs=epochs, group_by_length=True),
        "tamis": lambda n: jobs.train(folder, _new(data, n), tune, epochs=epochs, settings=settings),
    }


def predict(folder: Path, data: Rows, batches: list[int]) -> Contenders:
    """Bulk scoring: transformers' pipeline at several batch sizes, and tamis with either pooling."""
    found: Contenders = {
        f"pipeline, batch {batch}": lambda n, batch=batch: trainer.predict(folder, renewed(data.test_texts, n), batch=batch)  # type: ignore[misc]
        for batch in batches
    }
    for position in ("last_real", "mean"):
        labels = ["spam" if label else "ham" for label in data.train_labels[:64]]
        classifier = TextClassifier(str(folder), "head", settings={"text.position": position}).fit(data.train_texts[:64], labels)
        found[f"tamis, {position}"] = lambda n, c=classifier: jobs.predict(c, renewed(data.test_texts, n))  # type: ignore[misc]
    return found


def _new(data: Rows, number: int) -> Rows:
    return replace(data, train_texts=renewed(data.train_texts, number), test_texts=renewed(data.test_texts, number))


def shown(results: list[Timed]) -> str:
    """Medians, their range, and how many times as long as the last contender each took."""
    last = results[-1].median
    body = [[r.name, f"{r.median:.1f}", f"{min(r.seconds):.1f} to {max(r.seconds):.1f}", f"{r.median / last:.2f}"] for r in results]
    return table(body, header=("contender", "seconds", "range", f"times {results[-1].name}"))


def main() -> None:
    """Run one comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("job", "train", "predict"))
    parser.add_argument("--data", default="sms-spam")
    parser.add_argument("--share", type=float, default=1.0, help="share of the rows; the reference loop over all takes half an hour")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--how", choices=("frozen", "blocks:2", "full"), default="frozen")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    compute = devices.resolve("cpu", options.threads, "fp32")
    devices.apply(compute)
    data = rows(options.data).part(options.share)
    with tempfile.TemporaryDirectory() as place:
        folder = written(Path(place), trunk(), gpt2_tokenizer())
        made = {
            "job": lambda: job(folder, data, compute.threads),
            "train": lambda: train(folder, data, options.how, options.epochs),
            "predict": lambda: predict(folder, data, options.batch),
        }[options.what]()
        limits: list[float] = []

        def limit(_: int) -> float:
            limits.append(ceiling("fp32", compute.threads))
            return 0.0

        results = in_turn({"ceiling": limit, **made}, options.rounds)[1:]
    say(f"{len(data.train_texts):,} training and {len(data.test_texts):,} test messages; bare matrix products {sorted(limits)} GFLOP/s")
    print(shown(results))
    if options.json:
        found = {"what": options.what, "share": options.share, "ceiling_gflops": limits, "seconds": {r.name: r.seconds for r in results}}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
