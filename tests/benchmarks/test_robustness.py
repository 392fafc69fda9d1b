"""The attacks of another hand: seeded, valid Unicode, undone by the normaliser where only the
writing changes; and the figures.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness import report
from benchmarks.robustness.measure import chosen, figures, sets
from benchmarks.robustness.other_hand import OTHERS, disguised
from tamis import TextClassifier
from tamis.text.normalizer import robust_normalizer
from tamis.text.perturbations import PERTURBATIONS
from tests import runs
from tests.rows import messages

SPAM = [text for label, text in messages() if label == "spam" and text.isascii()]
HAM = [text for label, text in messages() if label == "ham" and text.strip()]
LETTERS = {
    "greek", "cyrillic", "cyrillic_some", "armenian", "mathematical_bold",
    "mathematical_fraktur", "double_struck", "monospace", "full_width", "circled",
    "negative_circled", "squared", "parenthesized", "small_capitals", "superscript", "zalgo",
    "overlay", "joiners", "soft_hyphens", "bidi_controls", "tag_characters",
    "variation_selectors", "exotic_spaces", "dotted_words", "dashed_words", "starred_words",
    "entities", "percent", "upper", "lower", "random_case", "numbers", "ham_before",
    "ham_after", "ham_both", "ham_long_after", "in_the_middle",
}  # fmt: skip
"""Disguises that leave the words what they are: nothing but how they are written changes, or what
stands around."""


def words(text: str) -> list[str]:
    return re.findall("[a-z]{3,}", str(NORMALISER.normalize_str(text)).lower())


NORMALISER = robust_normalizer()


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_disguise_is_seeded_changes_most_texts_and_stays_unicode(name: str) -> None:
    once = disguised(SPAM, name, seed=3, ham=HAM)
    assert once == disguised(SPAM, name, seed=3, ham=HAM)
    texts = SPAM if name != "links" else [text for text in SPAM if "www." in text or "http" in text]
    changed = disguised(texts, name, seed=3, ham=HAM)
    assert sum(a != b for a, b in zip(texts, changed, strict=True)) >= 0.7 * len(texts)
    for text in once:
        assert text.strip() and text.encode("utf-8")


@pytest.mark.parametrize("name", sorted(LETTERS))
def test_what_only_writes_letters_otherwise_is_read_as_the_words_they_are(name: str) -> None:
    found = total = 0
    for plain, text in zip(SPAM, disguised(SPAM, name, seed=5, ham=HAM), strict=True):
        here = set(words(text))
        wanted = words(plain)
        found, total = found + sum(word in here for word in wanted), total + len(wanted)
    assert found / total > 0.97


def test_the_other_hand_has_no_table_in_common_with_the_suite() -> None:
    source = Path(report.__file__).with_name("other_hand.py").read_text(encoding="utf-8")
    assert "tamis" not in re.sub(r"`tamis\.text\.perturbations`", "", source) and set(OTHERS) & set(
        PERTURBATIONS
    ) <= {
        "full_width",
        "numbers",
        "links",
    }


def test_figures_are_counted_at_the_models_own_threshold() -> None:
    classifier = TextClassifier.load(runs.finished_run(), threads=1)
    texts, truth = [*SPAM[:7], *HAM[:11]], np.arange(18) < 7
    found = figures(classifier, texts, truth)
    labels = classifier.predict(texts)
    assert (
        found["recall"] == (labels[:7] == "spam").mean()
        and found["false_positive_rate"] == (labels[7:] == "spam").mean()
    )
    low, high = found["recall_ci95"]
    assert low <= found["recall"] <= high
    assert len(list(sets(SPAM[:2], HAM, seed=1))) == 1 + len(PERTURBATIONS) + len(OTHERS)
    assert chosen(np.array([False, True, False, False, True]), 2).tolist() == [1, 4, 0, 3]


def test_the_page_in_docs_is_made_from_the_lines_that_are_kept() -> None:
    kept = Path(report.__file__).with_name("results.jsonl").read_text(encoding="utf-8").splitlines()
    text = report.DOCUMENT.read_text(encoding="utf-8")
    assert report.page(text, [json.loads(line) for line in kept]) == text


def test_the_page_has_a_row_for_every_attack_and_both_models(tmp_path: Path) -> None:
    draw = random.Random(1)

    def line(model: str, hand: str, attack: str) -> dict[str, object]:
        caught, blocked = draw.random(), draw.random() / 9
        about = {
            "model": model,
            "hand": hand,
            "perturbation": attack,
            "positives": 9,
            "negatives": 31,
            "f1": 0.5,
        }
        return about | {
            "recall": caught,
            "recall_ci95": [0.1, 0.9],
            "false_positive_rate": blocked,
            "false_positive_rate_ci95": [0.0, 0.2],
        }

    attacks = (("", "clean"), ("suite", "case"), ("other", "greek"))
    lines = [line(model, hand, name) for model in ("plain", "hardened") for hand, name in attacks]
    text = report.page(f"before\n{report.BEGIN}\nearlier figures\n{report.END}\nafter\n", lines)
    assert (
        text.startswith("before\n") and text.endswith("after\n") and "earlier figures" not in text
    )
    assert (
        f"| case | {100 * lines[1]['recall']:.1f} (10.0 to 90.0)" in text  # type: ignore[operator]
        and "greek (other hand)" in text
    )
    assert report.page(text, lines) == text
    missing = report.section(lines[:-1])  # the hardened model's last attack is not there yet
    assert re.search(
        r"\| greek \(other hand\) \| [\d.]+ \(.*\) \| [\d.]+ \(.*\) \| - \| - \|", missing
    )
    assert (
        "- plain, 2 attacks: least caught" in missing
        and "- hardened, 1 attacks: least caught" in missing
    )
    report.plot(lines[:-1], tmp_path / "missing.png")
    report.plot(lines, tmp_path / "robustness.png")
    assert (tmp_path / "robustness.png").read_bytes().startswith(b"\x89PNG")
