"""Tests whether `explain` finds the cause of a spam verdict: a spam phrase is planted in ham, and
the
word with the largest contribution should be in the phrase.

    python -m benchmarks.explain.planted --data SMSSpamCollection --run RUN

There are 200 seeded cases: 4 to 8 consecutive words of a spam test row between two ham test rows. A
case is used if the model flags the text but not the ham alone. The figure is the share of cases in
which the word with the largest contribution is inside the phrase.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from tamis.classifier.explain import explain
from tamis.classifier.text_classifier import TextClassifier
from tamis.data.splits import split_table
from tamis.data.tables import read_table
from tamis.evaluation.metrics import wilson


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="the labelled table")
    parser.add_argument("--run", required=True, help="a model trained on the table's training rows")
    parser.add_argument("--positive", default="spam")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    parts = split_table(read_table(options.data), "leakfree", seed=options.seed)
    texts = {
        kind: [
            t
            for t, k in zip(parts.texts("test"), parts.labels("test"), strict=True)
            if (k == options.positive) == kind
        ]
        for kind in (True, False)
    }
    classifier = TextClassifier.load(options.run, threads=options.threads)
    draw = random.Random(options.seed)
    inside = cases = tried = 0
    while cases < options.cases:
        tried += 1
        text, start, end, ham = planted(texts[True], texts[False], draw)
        flagged, alone = (
            verdict.label == options.positive for verdict in classifier.verdicts([text, ham])
        )
        if not flagged or alone:
            continue
        cases += 1
        strongest = explain(classifier, text, label=options.positive).strongest()[0]
        inside += start <= strongest.start and strongest.end <= end
        if cases % 20 == 0:
            print(
                json.dumps(
                    {
                        "cases": cases,
                        "inside": inside / cases,
                        "ci95": wilson(inside, cases),
                        "drawn": tried,
                    }
                ),
                flush=True,
            )


def planted(spam: list[str], ham: list[str], draw: random.Random) -> tuple[str, int, int, str]:
    """Return a text, the phrase's character range in it, and the ham without the phrase."""
    words = draw.choice(spam).split()
    count = min(len(words), draw.randint(4, 8))
    place = draw.randint(0, len(words) - count)
    phrase = " ".join(words[place : place + count])
    before, after = draw.choice(ham).strip(), draw.choice(ham).strip()
    return (
        f"{before} {phrase} {after}",
        len(before) + 1,
        len(before) + 1 + len(phrase),
        f"{before} {after}",
    )


if __name__ == "__main__":
    main()
