"""Measure a served model: python -m benchmarks.serving PART... [--run RUN | --data DATA] [--out
FILE].

Parts: latency, speed, neighbour, answers, load, memory, trunk, kills, or all. Every part starts
`tamis serve` in its own process on a free port, and the clients in another process. Without --run a
model is trained first on --data: all blocks of `nano`, only the head trained. Figures are printed
as a table and written to --out as JSON lines. The default sizes are those of the published
measurements.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.serving import kills, results, speed, steadiness, subject
from benchmarks.serving.results import Figure
from tamis.classifier.text_classifier import TextClassifier
from tamis.cli.console import say

PARTS = tuple(dict.fromkeys(wanted.part for wanted in results.MEASURES.values()))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add = found.add_argument
    add("parts", nargs="+", choices=(*PARTS, "all"), metavar="PART")
    add("--run", type=Path, help="run or model folder [default: train one]")
    add("--data", default="sms-spam", help="table whose texts are sent")
    add(
        "--texts",
        type=int,
        default=512,
        help="distinct texts for the parts speed, trunk, load and memory",
    )
    add(
        "--requests",
        type=int,
        default=2_000,
        help="single requests of the part latency, texts of the part answers",
    )
    add(
        "--seconds",
        type=float,
        default=10.0,
        help="seconds of one round of the parts speed and trunk",
    )
    add("--rounds", type=int, default=3, help="rounds of the parts speed and trunk")
    add("--load-seconds", type=float, default=60.0, help="seconds of the part load")
    add("--memory-requests", type=int, default=50_000)
    add("--corrections", type=int, default=1_000)
    add("--kills", type=int, default=20)
    add("--layers", type=int, default=12, help="blocks of the random GPT-2")
    add("--width", type=int, default=768, help="channels of the random GPT-2")
    add(
        "--threads",
        type=int,
        help="threads of the server and of bulk prediction [default: physical cores]",
    )
    add("--out", type=Path, help="JSON lines file; lines are appended")
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    options = parser().parse_args(arguments)
    parts = PARTS if "all" in options.parts else options.parts
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        measures = dict(_measures(options, Path(folder)))
        for part in parts:
            say(f"{part} ...")
            for figure in measures[part]():
                found.append(figure)
                if options.out:
                    with options.out.open("a", encoding="utf-8") as lines:
                        lines.write(figure.line() + "\n")
    print(results.table(found, only_measured=True))


def _measures(
    options: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, Callable[[], list[Figure]]]]:
    """Yield what each part runs; a model is trained when the first part needs it."""
    texts = subject.distinct_texts(options.data)
    some, threads = subject.sample(texts, options.texts), options.threads

    def run() -> Path:
        if options.run is None:
            options.run = subject.trained(folder / "run", options.data, threads)
        return Path(options.run)

    def killed() -> list[Figure]:
        labels = [str(label) for label in TextClassifier.load(run(), threads=threads).classes_]
        own = subject.sample(texts, options.corrections)
        return kills.kills(run(), own, labels, folder, count=options.kills, threads=threads)

    def trunk() -> list[Figure]:
        large = subject.random_gpt2(folder / "random", layers=options.layers, width=options.width)
        return speed.trunk(
            large, some, seconds=options.seconds, rounds=options.rounds, threads=threads
        )

    yield "latency", lambda: speed.latency(run(), texts, requests=options.requests, threads=threads)
    yield (
        "speed",
        lambda: speed.speed(
            run(), some, seconds=options.seconds, rounds=options.rounds, threads=threads
        ),
    )
    yield (
        "neighbour",
        lambda: speed.neighbour(
            run(), some, seconds=options.seconds, rounds=options.rounds, threads=threads
        ),
    )
    yield (
        "answers",
        lambda: steadiness.answers(run(), subject.sample(texts, options.requests), threads=threads),
    )
    yield (
        "load",
        lambda: steadiness.load(run(), some, seconds=options.load_seconds, threads=threads),
    )
    yield (
        "memory",
        lambda: steadiness.memory(run(), some, requests=options.memory_requests, threads=threads),
    )
    yield "trunk", trunk
    yield "kills", killed


if __name__ == "__main__":
    main()
