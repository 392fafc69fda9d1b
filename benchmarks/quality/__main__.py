r"""Quality benchmark: every task with every method and seed, with figures and costs, including the
comparison with training from scratch.

    python -m benchmarks.quality --data DATA --out results.jsonl \
        --method tfidf --method nano-full=nano@full
    python -m benchmarks.quality --out results.jsonl --table

The file has one line per figure. An interrupted run is resumed, and several runs at once can share
the tasks; `--table` prints the existing figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.quality import methods
from benchmarks.quality.table import (
    FIGURES,
    costs,
    current,
    embedded_fingerprint,
    judged,
    read,
    table,
)
from benchmarks.quality.tasks import SEEDS, tasks

FIXED_ROWS = (
    "sms-tp2",
    "sms-almeida",
    "trec6",
    "banking77",
    "tweeteval-offensive",
    "tweeteval-irony",
    "sms-to-spamassassin",
)
"""Tasks that have the same rows for every seed."""
DRAWS = {"banking77-8": 10}
"""Number of draws of tasks that do not have one draw per seed: MTEB's protocol has ten."""


def main() -> None:
    """Compute the missing figures, or print the table."""
    parser = _parser()
    options = parser.parse_args()
    if options.table:
        rows = current(read(options.out))
        print(f"{table(rows)}\n\n{costs(rows)}")
        return
    from tamis.cli.options import parse_setting
    from tamis.compute.device import apply, resolve
    from tamis.errors import TamisError

    if options.data is None or not options.data.is_dir():
        parser.error(f"--data {options.data}: expected the folder of the data sets")
    known = tasks(options.data)
    for name in options.task or []:
        if name not in known:
            parser.error(f"--task {name}: expected one of {', '.join(known)}")
    try:
        settings = dict(parse_setting(text) for text in options.set) | {
            "compute.threads": options.threads
        }
        chosen = [methods.named(text, options.teacher, settings) for text in options.method]
    except (TamisError, ValueError) as error:
        parser.error(str(error))
    apply(resolve("cpu", options.threads))
    done = {(row["method"], row["task"], row["seed"], row.get("of")) for row in read(options.out)}
    for name, backbone, tune, method in chosen:
        of = embedded_fingerprint() if backbone == "nano" else None
        for task_name in options.task or known:
            # Same rows and a deterministic fit: one seed suffices.
            fixed = task_name in FIXED_ROWS and not tune.startswith(("full", "blocks", "lora"))
            for seed in range(1 if fixed else options.seeds or DRAWS.get(task_name, len(SEEDS))):
                if (name, task_name, seed, of) in done:
                    continue
                task = known[task_name](seed)
                found = method(task)
                figures = judged(task, found.probabilities, found.labels)
                speed = round(len(task.test_texts) / found.test_s, 1)
                row = {
                    "method": name,
                    "task": task_name,
                    "seed": seed,
                    "fit_s": round(found.fit_s, 2),
                    "messages_per_s": speed,
                }
                row |= {"figures": figures} | ({"of": of} if of else {})
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                shown = ", ".join(
                    f"{figure} {figures[figure]:.3f}"
                    for figure in FIGURES[task_name]
                    if figure in figures
                )
                print(
                    f"{name} {task_name} {seed}: {shown} (fit {found.fit_s:.1f} s, {speed:,.0f}/s)",
                    flush=True,
                )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument(
        "--out", type=Path, required=True, help="results file, one JSON line per figure"
    )
    rivals = "majority, tfidf, tfidf-threshold, minilm, minilm-full, setfit"
    parser.add_argument(
        "--method", action="append", default=[], help=f"{rivals}, or NAME=BACKBONE@TUNE for tamis"
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        help="folder of the sentence-transformers model for minilm, minilm-full and setfit",
    )
    parser.add_argument("--task", action="append", help="only these tasks")
    parser.add_argument(
        "--seeds",
        type=int,
        help="number of seeds [default: 5, or the number of draws in the task's protocol]",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help="a setting for every tamis method, e.g. train.epochs=8",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--table", action="store_true", help="print the table")
    return parser


if __name__ == "__main__":
    main()
