r"""Spam hidden in long ham texts: recall, false positive rate on ham of the same length, memory.

    python -m benchmarks.long_texts.measure --data SMSSpamCollection --run NAME=RUN... \
        --out results.jsonl

Ham test rows are joined to texts of 5,000 tokens. 100 texts get one spam test row at a seeded
position, 100 others none. Every text is classified at the model's threshold and with its window
penalty (`text.window_penalty` times log n for n windows). `--shift 0` (and others) shows other
penalties. `python -m benchmarks.long_texts.report` writes the table of `docs/robustness.md` from
the
file; models that are already in the file are not measured again.
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.classifier.text_classifier import TextClassifier
from tamis.data.splits import split_table
from tamis.data.tables import read_table
from tamis.evaluation.metrics import wilson


def main() -> None:
    """Parse the command line and measure."""
    options = _options()
    parts = split_table(read_table(options.data), "leakfree", seed=options.seed)
    by_label: dict[bool, list[str]] = {True: [], False: []}
    for text, label in zip(parts.texts("test"), parts.labels("test"), strict=True):
        by_label[label == options.positive].append(text)
    done = {line["model"] for line in lines_of(options.out)}
    for named in options.run:
        name, _, run = named.partition("=")
        if name in done:
            continue
        classifier = TextClassifier.load(run, threads=options.threads)
        if options.window:
            classifier.recipe_ = classifier.recipe_.changed({"text.window": options.window})
        for line in measured(classifier, by_label, options):
            print(json.dumps({"model": name, **line}), flush=True)
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"model": name, **line}) + "\n")


def measured(
    classifier: TextClassifier, by_label: dict[bool, list[str]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return a line per penalty, the model's own first."""
    random = np.random.default_rng(options.seed)
    plain = [
        joined(classifier, by_label[False], random, options.tokens) for _ in range(options.texts)
    ]
    hidden = [
        planted(joined(classifier, by_label[False], random, options.tokens), by_label[True], random)
        for _ in range(options.texts)
    ]
    place = [str(c) for c in classifier.classes_].index(str(classifier.positive_))
    threshold = classifier.rule_.threshold or 0.5
    logits = {
        name: margins(classifier, [" ".join(t) for t in texts], place)
        for name, texts in (("recall", hidden), ("false_positive_rate", plain))
    }
    windows = len(classifier.predictor_.encoder.window_spans(options.tokens))
    own = classifier.predictor_.encoder.aggregation.penalty
    lines = []
    for shift in [own, *options.shift]:
        line: dict[str, Any] = {
            "texts": options.texts,
            "tokens": options.tokens,
            "window": classifier.recipe_.text.window,
        }
        line |= {"windows": windows, "shift": shift, "own": shift == own}
        for name, values in logits.items():
            flagged = int(
                (
                    values + (own - shift) * np.log(windows) >= np.log(threshold / (1 - threshold))
                ).sum()
            )
            line |= {name: flagged / len(values), f"{name}_ci95": wilson(flagged, len(values))}
        lines.append(
            line | {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
        )
    return lines


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a results file."""
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.is_file()
        else []
    )


def joined(
    classifier: TextClassifier, ham: list[str], random: np.random.Generator, tokens: int
) -> list[str]:
    """Return ham texts in random order that have the given number of tokens together."""
    parts: list[str] = []
    count = 0
    for row in random.permutation(len(ham)).tolist() * (1 + tokens // len(ham)):
        if count >= tokens:
            break
        parts.append(ham[row])
        count += len(classifier.predictor_.tokenizer.encode([ham[row]])[0])
    return parts


def planted(parts: list[str], spam: list[str], random: np.random.Generator) -> list[str]:
    """Insert one spam text at a random position."""
    place = int(random.integers(0, len(parts) + 1))
    return [*parts[:place], spam[int(random.integers(len(spam)))], *parts[place:]]


def margins(classifier: TextClassifier, texts: list[str], place: int) -> NDArray[np.float64]:
    """Return the log-odds of the positive class, (N,), computed one text at a time."""
    chances = np.array([classifier.predict_proba([text])[0, place] for text in texts])
    return np.asarray(
        np.log(np.maximum(chances, 1e-300)) - np.log(np.maximum(1 - chances, 2.0**-53))
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="the labelled table")
    parser.add_argument(
        "--run",
        required=True,
        action="append",
        help="NAME=RUN, a model trained on the table's training rows",
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON lines file")
    parser.add_argument("--positive", default="spam")
    parser.add_argument("--tokens", type=int, default=5000)
    parser.add_argument(
        "--texts", type=int, default=100, help="texts with spam, and as many without"
    )
    parser.add_argument("--window", type=int, help="tokens of a window [default: the model's own]")
    parser.add_argument(
        "--shift",
        type=float,
        action="append",
        default=None,
        help="further penalties, in units of log n [default: 0, .5, 1, 1.5]",
    )
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.shift = options.shift or [0.0, 0.5, 1.0, 1.5]
    return options


if __name__ == "__main__":
    main()
