"""Spam in long ham: what is joined and planted, what is counted at another penalty, and the page
that is made of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.long_texts import measure, report
from benchmarks.robustness.report import DOCUMENT
from tamis.classifier.text_classifier import TextClassifier
from tamis.decision.window_penalty import FALSE_ALARMS, LOST, WINDOWS
from tests import runs
from tests.rows import messages

SPAM = [text for label, text in messages() if label == "spam"]
HAM = [text for label, text in messages() if label == "ham" and text.strip()]


def test_the_page_in_docs_is_made_from_the_lines_that_are_kept() -> None:
    lines = measure.lines_of(Path(report.__file__).with_name("results.jsonl"))
    text = DOCUMENT.read_text(encoding="utf-8")
    assert lines and report.page(text, lines) == text


def test_the_page_names_what_the_penalty_is_learnt_by() -> None:
    text = " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    first, second = WINDOWS
    assert (
        f"the largest of {first} and of {second} windows must be lowered so that "
        f"{100 * FALSE_ALARMS:g} % of such texts are flagged" in text
    )
    assert (
        f"{100 * (1 - LOST):g} % of the held-out spam that is flagged alone must still be flagged"
        in text
    )


def test_one_spam_is_planted_into_ham_of_the_length_asked_for() -> None:
    classifier = TextClassifier.load(runs.finished_run(), threads=1)
    parts = measure.joined(classifier, HAM, np.random.default_rng(3), 700)
    counts = [len(classifier.predictor_.tokenizer.encode([part])[0]) for part in parts]
    assert sum(counts[:-1]) < 700 <= sum(counts) and set(parts) <= set(HAM)
    places = set()
    for seed in range(40):
        given = measure.planted(parts, SPAM, np.random.default_rng(seed))
        (place,) = (at for at, part in enumerate(given) if part in SPAM)
        assert given[:place] + given[place + 1 :] == parts
        places.add(place)
    assert {0, len(parts)} & places and len(places) > len(parts) / 3


def test_what_is_counted_is_what_the_model_says_and_falls_with_the_penalty() -> None:
    classifier = TextClassifier.load(runs.finished_run(), threads=1)
    options = argparse.Namespace(
        seed=5, texts=13, tokens=600, shift=[-9.0, 0.0, 0.5, 9.0], window=None
    )
    lines = measure.measured(classifier, {True: SPAM, False: HAM}, options)
    own = lines[0]
    assert (
        own["own"]
        and own["shift"] == classifier.predictor_.encoder.aggregation.penalty
        and own["windows"] == len(classifier.predictor_.encoder.window_spans(600)) > 1
    )
    random = np.random.default_rng(5)
    plain = [" ".join(measure.joined(classifier, HAM, random, 600)) for _ in range(13)]
    assert own["false_positive_rate"] == (classifier.predict(plain) == "spam").mean()
    for kind in ("recall", "false_positive_rate"):
        by_penalty = [line[kind] for line in sorted(lines, key=lambda line: line["shift"])]
        assert (
            by_penalty == sorted(by_penalty, reverse=True)
            and by_penalty[0] == 1
            and by_penalty[-1] == 0
        )
        assert all(
            line[f"{kind}_ci95"][0] <= line[kind] <= line[f"{kind}_ci95"][1] for line in lines
        )


def test_the_table_names_every_model_and_its_own_penalty() -> None:
    line = {
        "texts": 7,
        "tokens": 900,
        "recall": 0.5,
        "recall_ci95": [0.2, 0.8],
        "false_positive_rate": 0.25,
        "false_positive_rate_ci95": [0.1, 0.4],
    }
    line |= {"peak_memory_mb": 321}
    lines = [
        line | {"model": "plain", "shift": 0.4, "own": True},
        line | {"model": "hard", "shift": 1.0, "own": False},
    ]
    text = report.page(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", lines)
    assert (
        text.startswith("before\n")
        and text.endswith("after\n")
        and "old" not in text
        and "900 tokens, 7 texts" in text
    )
    assert (
        "| plain | 0.40, the model's own | 50.0 (20.0 to 80.0) | 25.0 (10.0 to 40.0) | 321 |"
        in text
    )
    assert "| hard | 1.00 | 50.0" in text and report.page(text, lines) == text
