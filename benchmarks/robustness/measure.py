r"""Recall and false positive rate under every perturbation, of the suite and of a second,
independent
set, with 95 % intervals; and the cost of each remedy on clean texts.

    python -m benchmarks.robustness.measure --data SMSSpamCollection --run NAME=RUN... \
        --out robustness.jsonl

Each RUN is a model trained on the split's training rows (`tamis train sms-spam --seed 42 -o RUN`,
with and without `--robust`). All models are evaluated on the same test rows at their clean
threshold; good words come from ham training rows. The file has one line per model and perturbation;
existing lines are not computed again. `python -m benchmarks.robustness.report` writes
`docs/robustness.md` and its plot from the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.other_hand import OTHERS, disguised
from tamis.classifier.text_classifier import TextClassifier
from tamis.data.splits import split_table
from tamis.data.tables import read_table
from tamis.evaluation.metrics import wilson
from tamis.text.perturbations import PERTURBATIONS, perturb


def main() -> None:
    """Parse the command line and measure."""
    options = _options()
    parts = split_table(read_table(options.data), "leakfree", seed=options.seed)
    texts, truth = (
        parts.texts("test"),
        np.array([label == options.positive for label in parts.labels("test")]),
    )
    rows = chosen(truth, options.ham)
    texts, truth = [texts[row] for row in rows], truth[rows]
    ham = [
        text
        for text, label in zip(parts.texts("train"), parts.labels("train"), strict=True)
        if label != options.positive
    ]
    done = _done(options.out)
    for named in options.run:
        name, _, run = named.partition("=")
        classifier = TextClassifier.load(run, threads=options.threads)
        for hand, attack, changed in sets(texts, ham, seed=options.seed):
            if (name, hand, attack) in done:
                continue
            line = {
                "model": name,
                "hand": hand,
                "perturbation": attack,
                **figures(classifier, changed, truth),
            }
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(
                name,
                hand,
                attack,
                f"recall {line['recall']:.3f}, false positive rate "
                f"{line['false_positive_rate']:.4f}",
                flush=True,
            )


def sets(texts: list[str], ham: list[str], *, seed: int) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the set, the perturbation and the perturbed texts; the unchanged texts come first."""
    yield "", "clean", texts
    for name in PERTURBATIONS:
        yield "suite", name, perturb(texts, name, seed=seed, ham=ham)
    for name in OTHERS:
        yield "other", name, disguised(texts, name, seed=seed, ham=ham)


def chosen(
    truth: np.ndarray[Any, np.dtype[np.bool_]], most_ham: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return all positives and at most the given number of negatives, evenly spaced."""
    negatives = np.flatnonzero(~truth)
    spaced = negatives[
        np.linspace(0, len(negatives) - 1, min(most_ham, len(negatives))).astype(int)
    ]
    return np.concatenate([np.flatnonzero(truth), spaced])


def figures(
    classifier: TextClassifier, texts: list[str], truth: np.ndarray[Any, np.dtype[np.bool_]]
) -> dict[str, Any]:
    """Return recall, false positive rate and F1 at the model's threshold, with intervals of the two
    rates.
    """
    place = [str(c) for c in classifier.classes_].index(str(classifier.positive_))
    flagged = classifier.predict_proba(texts)[:, place] >= (classifier.rule_.threshold or 0.5)
    caught, blocked = int(flagged[truth].sum()), int(flagged[~truth].sum())
    positives, negatives = int(truth.sum()), int((~truth).sum())
    return {
        "positives": positives,
        "negatives": negatives,
        "recall": caught / positives,
        "recall_ci95": wilson(caught, positives),
        "false_positive_rate": blocked / negatives,
        "false_positive_rate_ci95": wilson(blocked, negatives),
        "f1": 2 * caught / (caught + blocked + positives),
    }


def _done(path: Path) -> set[tuple[str, str, str]]:
    if not path.exists():
        return set()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(line["model"], line["hand"], line["perturbation"]) for line in lines}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="the labelled table")
    parser.add_argument("--run", action="append", required=True, help="NAME=RUN, once per model")
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON lines file; lines are appended"
    )
    parser.add_argument("--positive", default="spam")
    parser.add_argument("--ham", type=int, default=10**9, help="most negatives to classify")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
