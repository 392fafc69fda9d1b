"""The result in whole numbers: they add up, the ranges hold them, and the words fit the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tamis.config import Recipe
from tamis.evaluation.metrics import wilson
from tamis.evaluation.report.plain_summary import apportion, is_filter, summarize
from tamis.evaluation.report.render_html import render
from tamis.evaluation.report.render_text import report_lines
from tamis.evaluation.report.report import Part, ReportInputs, build_report


def two(counts: list[list[int]]) -> tuple[list[int], np.ndarray]:
    """True classes and probabilities (N, 2) with these counts at threshold 0.5; rows are labels."""
    truth, predicted = [], []
    for label, row in enumerate(counts):
        for place, count in enumerate(row):
            truth += [label] * count
            predicted += [place] * count
    return truth, np.eye(len(counts))[predicted] * 0.8 + 0.2 / len(counts)


def report_of(
    counts: list[list[int]],
    classes: tuple[str, ...] = ("ham", "spam"),
    positive: str | None = "spam",
    **changes: Any,
) -> dict[str, Any]:
    truth, probabilities = two(counts)
    inputs = ReportInputs(
        classes=classes,
        positive=positive,
        split="leakfree",
        backbone="nano",
        tune="full",
        **{
            "test": Part([classes[label] for label in truth], probabilities),
            "baselines": {},
            **changes,
        },
    )
    return build_report(inputs, bootstrap=2)


def test_the_example_reads_as_a_sentence() -> None:
    report = report_of([[867 * 2, 3 * 2], [23 * 2, 107 * 2]])
    summary = report["summary"]
    assert summary["model"] == {"caught": 107, "missed": 23, "blocked": 3, "passed": 867}
    assert summary["sentences"][0].startswith("Of 1,000 messages like these, 130 are 'spam': 107 (")
    assert "23 (" in summary["sentences"][0] and summary["sentences"][0].endswith("missed.")
    assert summary["sentences"][1].startswith("870 are 'ham': 3 (1 to 7) blocked, 867 (863 to 869)")
    assert summary["sentences"][2] == "Measured on 2,000 test rows; the ranges are 95 % intervals."
    assert len(summary["sentences"]) == 3, "no small sample here"


@pytest.mark.parametrize(
    "counts",
    [
        [[1, 1], [1, 0]],
        [[958, 7], [11, 139]],
        [[3, 0], [0, 4]],
        [[333, 333], [333, 1]],
        [[99_999, 1], [1, 99_999]],
        [[5, 0], [7, 0]],
    ],
)
def test_the_numbers_add_up_and_lie_in_their_ranges(counts: list[list[int]]) -> None:
    truth, other = two([[sum(counts[0]), 0], [0, sum(counts[1])]])
    del truth
    found = report_of(counts, baselines={"tfidf": other})["summary"]
    model, tfidf = found["model"], found["tfidf"]
    assert sum(model.values()) == sum(tfidf.values()) == 1000
    assert model["caught"] + model["missed"] == tfidf["caught"] + tfidf["missed"], "same classes"
    for key, (low, high) in found["ranges"].items():
        assert 0 <= low <= model[key] <= high <= 1000
    positives = model["caught"] + model["missed"]
    low, high = wilson(counts[1][1], sum(counts[1]))
    assert found["ranges"]["caught"][0] <= low * positives <= low * positives + 1
    assert found["ranges"]["caught"][1] >= high * positives - 1e-6
    assert found["ranges"]["missed"][0] == positives - found["ranges"]["caught"][1]


def test_tfidf_stands_beside_the_model() -> None:
    _, other = two([[95, 5], [2, 8]])
    report = report_of([[99, 1], [3, 7]], baselines={"tfidf": other})
    assert "TF-IDF: 73 caught, 18 missed, 45 'ham' blocked." in report["summary"]["sentences"]


def test_an_error_that_rounds_to_nothing_is_not_called_none() -> None:
    first, second, *_ = report_of([[9_999, 1], [1, 4_999]])["summary"]["sentences"]
    assert "fewer than 1 (0 to 1) missed" in first and "fewer than 1 (0 to 1) blocked" in second
    clean = report_of([[10_000, 0], [0, 5_000]])["summary"]["sentences"]
    assert "0 (0 to 1) missed" in clean[0] and "fewer" not in " ".join(clean)


def test_few_rows_are_said() -> None:
    said = report_of([[19, 1], [1, 5]])["summary"]["sentences"]
    assert said[-1] == "This is a small sample (20 'ham', 6 'spam'), so the numbers are rough."
    assert "small sample" not in " ".join(report_of([[100, 1], [1, 99]])["summary"]["sentences"])


def test_a_class_without_rows_is_said() -> None:
    said = report_of([[7, 1], [0, 0]])["summary"]
    assert "0 are 'spam', so it cannot be said how many are caught" in said["sentences"][0]
    assert set(said["ranges"]) == {"blocked", "passed"}
    only = report_of([[0, 0], [1, 7]])["summary"]["sentences"]
    assert only[1] == "None is 'ham', so it cannot be said how many are blocked."


def test_another_positive_class_is_not_blocked() -> None:
    named: dict[str, Any] = {
        "classes": ("calm", "urgent"),
        "positive": "urgent",
        "positive_named": True,
    }
    report = report_of([[90, 10], [2, 8]], recipe=Recipe(), **named)
    said = " ".join(report["summary"]["sentences"])
    assert "wrongly flagged as 'urgent'" in said and "blocked" not in said
    assert not is_filter(report) and report["summary"]["kind"] == "positive"


def test_two_classes_of_equal_worth() -> None:
    _, other = two([[80, 20], [30, 70]])
    recipe = Recipe().changed({"decision.scoring": "f1_macro"})
    report = report_of(
        [[88, 12], [5, 95]],
        ("negative", "positive"),
        "positive",
        recipe=recipe,
        baselines={"tfidf": other},
    )
    summary = report["summary"]
    assert report["equal_worth"] is True and summary["kind"] == "equal"
    assert summary["model"] == {
        "right": 915,
        "wrong": 85,
        "mistaken": {"negative": 60, "positive": 25},
    }
    assert summary["sentences"][0] == (
        "Of 1,000 messages like these, 915 (868 to 947) get the right label and 85 (53 to 132) a "
        "wrong one: 60 'negative' labelled 'positive', 25 'positive' labelled 'negative'."
    )
    assert (
        summary["sentences"][1] == "TF-IDF: 750 right, 250 wrong (100 'negative', 150 'positive')."
    )


@pytest.mark.parametrize(
    ("settings", "positive", "named", "equal"),
    [
        ({}, "spam", False, False),
        ({}, "urgent", False, True),
        ({}, "urgent", True, False),
        ({"decision.scoring": "f1"}, "urgent", False, False),
        ({"decision.scoring": "f1_macro"}, "spam", False, True),
        ({"data.positive": "urgent"}, "urgent", False, False),
    ],
)
def test_who_says_which_class_is_looked_for(
    settings: dict[str, Any], positive: str, named: bool, equal: bool
) -> None:
    report = report_of(
        [[4, 1], [1, 4]],
        ("other", positive),
        positive,
        recipe=Recipe().changed(settings),
        positive_named=named,
    )
    assert report["equal_worth"] is equal


def test_many_classes_name_the_hardest() -> None:
    counts = [[50, 5, 5], [10, 20, 10], [0, 1, 99]]
    _, other = two([[60, 0, 0], [0, 40, 0], [40, 0, 60]])
    report = report_of(counts, ("a", "b", "c"), None, baselines={"tfidf": other})
    summary = report["summary"]
    assert summary["kind"] == "classes" and summary["model"] == {"right": 845, "wrong": 155}
    assert summary["sentences"][:3] == [
        "Of 1,000 messages like these, 845 (788 to 889) get the right label and 155 (111 to 212) a "
        "wrong one.",
        "TF-IDF: 800 right, 200 wrong.",
        "The hardest class is 'b': 20 of its 40 rows get the right label.",
    ]
    perfect = report_of([[9, 0, 0], [0, 9, 0], [0, 0, 9]], ("a", "b", "c"), None)["summary"]
    assert "hardest" not in " ".join(perfect["sentences"])


def test_validation_rows_are_called_optimistic_and_without_rows_there_is_nothing() -> None:
    truth, probabilities = two([[90, 10], [10, 90]])
    part = Part([("ham", "spam")[label] for label in truth], probabilities)
    report = report_of([[1, 0], [0, 1]], test=None, validation=part)
    assert report["summary"]["part"] == "validation" and report["summary"]["tfidf"] is None
    assert "also chose the threshold" in " ".join(report["summary"]["sentences"])
    assert summarize({**report, "test": None, "validation": None}) is None


def test_page_and_terminal_begin_with_the_sentences() -> None:
    report = report_of([[95, 5], [4, 96]])
    lines = report_lines(report)
    said, steps = report["summary"]["sentences"], report["next_steps"]
    assert lines[: len(said)] == said
    assert lines[len(said)] == f"next: {steps[0]['sentence']}"
    page = render(report, {}, []).replace("&#39;", "'")
    places = [page.index(text) for text in (*said, steps[0]["sentence"], 'class="card"')]
    assert places == sorted(places), "first the sentence, then what to try, then the figures"


def test_labels_cannot_break_a_sentence() -> None:
    evil = "\u202e<b>\n"
    report = report_of([[9, 1], [1, 9]], ("ham", evil), evil)
    said = " ".join(report["summary"]["sentences"])
    assert "\u202e" not in said and "\n" not in said and repr(evil) in said
    assert "<b>" not in render(report, {}, []).replace("<b>0.", "").replace("<b>9", "").replace(
        "<b>1", ""
    )


def test_apportioning_gives_the_largest_remainders_one_more() -> None:
    assert apportion([1, 1, 1], 1000) == [334, 333, 333]
    assert apportion([0, 0], 10) == [0, 0] and apportion([2, 0], 7) == [7, 0]
    assert apportion([5, 15, 80], 10) == [1, 1, 8]
