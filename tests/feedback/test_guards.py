"""The guards by hand-computed numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.classifier.training_features import MOST_ROWS
from tamis.decision.verdict import DecisionRule
from tamis.feedback.guards import LearningSettings, balance, figures, is_confident, too_few, worse

CLASSES = ["ham", "spam"]
RULE = DecisionRule(positive="spam", threshold=0.3, low=0.25, high=0.35)
DEFAULT = LearningSettings()


def test_a_class_with_too_few_rows_is_named() -> None:
    assert too_few(np.array([5, 5]), CLASSES, DEFAULT) is None
    words = too_few(np.array([50, 4]), CLASSES, DEFAULT)
    assert words == "too few rows of 'spam': 4; corrections count from 5 on"


def test_corrections_may_change_a_ratio_by_the_factor_and_no_more() -> None:
    # 100 ham and 20 spam; 400 more spam would make 100:420, 21 times the share. Four times is
    # 100:80: 60 of the 400 count.
    assert balance(np.array([100.0, 20.0]), np.array([0.0, 400.0]), 4.0).tolist() == [1.0, 0.15]
    # With 100 ham corrected too the ratio may be 200:160, so 140 count.
    assert balance(np.array([100.0, 20.0]), np.array([100.0, 400.0]), 4.0) == pytest.approx(
        [1.0, 0.35]
    )
    assert balance(np.array([100.0, 20.0]), np.array([0.0, 60.0]), 4.0).tolist() == [1.0, 1.0]
    # Without rows a class counts as one: 1 + 11 against 4 * (1 + 2).
    assert balance(np.zeros(2), np.array([2.0, 44.0]), 4.0) == pytest.approx([1.0, 0.25])


@given(
    st.lists(st.integers(1, 1000), min_size=3, max_size=3),
    st.lists(st.integers(0, 1000), min_size=3, max_size=3),
    st.floats(1, 10),
)
def test_no_ratio_of_two_classes_changes_by_more_than_the_factor(
    base: list[int], corrected: list[int], factor: float
) -> None:
    rows, further = np.array(base, dtype=float), np.array(corrected, dtype=float)
    share = balance(rows, further, factor)
    growth = (rows + share * further) / rows
    assert ((share >= 0) & (share <= 1)).all() and growth.max() <= factor * growth.min() * (
        1 + 1e-9
    )
    assert share[((rows + further) / rows).argmin()] == pytest.approx(1)


def test_sure_is_the_same_verdict_not_unsure_and_at_that_probability() -> None:
    spam = np.array([0.97, 0.94, 0.97, 0.02, 0.28, 0.04])
    targets = np.array([1, 1, 0, 0, 0, 0])
    found = is_confident(np.stack([1 - spam, spam], 1), targets, RULE, CLASSES, 0.95)
    assert found.tolist() == [True, False, False, True, False, True]
    assert is_confident(
        np.array([[0.72, 0.28], [0.8, 0.2]]), np.array([0, 0]), RULE, CLASSES, 0.6
    ).tolist() == [False, True]
    strict = DecisionRule(
        positive="spam", threshold=0.03
    )  # P(ham) = 0.96 is spam here all the same
    assert is_confident(
        np.array([[0.96, 0.04]]), np.array([0]), strict, CLASSES, 0.95
    ).tolist() == [False]


def test_figures_follow_the_stored_threshold() -> None:
    spam = np.array([0.1, 0.31, 0.5, 0.29])
    found = figures(np.stack([1 - spam, spam], 1), np.array([0, 0, 1, 1]), RULE, CLASSES)
    assert found["rows"] == {"ham": 2, "spam": 2} and found["wrong"] == {"ham": 0.5, "spam": 0.5}
    assert found["loss"] == pytest.approx(-np.log([0.9, 0.69, 0.5, 0.29]).mean())
    assert figures(np.array([[0.0, 1.0]]), np.array([0]), RULE, CLASSES)["wrong"] == {"ham": 1.0}


def part(ham: float, spam: float, rows: tuple[int, int] = (1000, 100)) -> dict[str, Any]:
    return {
        "rows": dict(zip(CLASSES, rows, strict=True)),
        "wrong": {"ham": ham, "spam": spam},
        "loss": 0.0,
    }


@pytest.mark.parametrize(
    ("after", "held_back"),
    [
        ((0.002, 0.05), False),
        ((0.012, 0.05), False),  # one point more of the ham: as much as is allowed
        ((0.013, 0.05), True),
        ((0.002, 0.07), False),  # two points more of the spam
        ((0.002, 0.08), True),
        ((0.0, 0.0), False),
    ],
)
def test_a_step_is_held_back_beyond_the_margin_of_its_class(
    after: tuple[float, float], held_back: bool
) -> None:
    assert (worse(part(0.002, 0.05), part(*after), "spam", DEFAULT) is not None) == held_back


def test_the_reason_says_the_class_both_shares_and_the_margin() -> None:
    words = worse(part(0.002, 0.05), part(0.03, 0.05), "spam", DEFAULT)
    assert words == (
        "the error rate on 1,000 held-out 'ham' rows would rise from 0.20 % to 3.00 %; "
        "at most 1.00 percentage points more are allowed"
    )


def test_one_row_more_is_always_allowed() -> None:
    assert worse(part(0.0, 0.0, (20, 10)), part(0.05, 0.1, (20, 10)), "spam", DEFAULT) is None
    assert worse(part(0.0, 0.0, (20, 10)), part(0.1, 0.0, (20, 10)), "spam", DEFAULT) is not None


def test_more_classes_are_judged_by_the_mean_of_their_shares() -> None:
    def of(*wrong: float) -> dict[str, Any]:
        return {
            "rows": dict.fromkeys("abc", 100),
            "wrong": dict(zip("abc", wrong, strict=True)),
            "loss": 0.0,
        }

    assert worse(of(0.1, 0.1, 0.1), of(0.15, 0.1, 0.1), None, DEFAULT) is None
    words = worse(of(0.1, 0.1, 0.1), of(0.2, 0.1, 0.1), None, DEFAULT)
    assert words is not None and "(mean over classes)" in words and "13.33 %" in words


def test_the_page_has_every_setting_with_its_default_and_its_words() -> None:
    page = (Path(__file__).parents[2] / "docs" / "learning.md").read_text(encoding="utf-8")
    rows = [
        f"| `{name}` | `{field.default}` | {field.description} |"
        for name, field in LearningSettings.model_fields.items()
    ]
    assert page.endswith("|---|---|---|\n" + "\n".join(rows) + "\n")
    assert f"more than {MOST_ROWS:,} training rows" in page


def test_a_setting_out_of_range_is_refused() -> None:
    for wrong in (
        {"confident": 0.5},
        {"min_per_class": 0},
        {"max_shift": 0.9},
        {"max_fpr_increase": 1.1},
        {"nothing": 1},
    ):
        with pytest.raises(ValueError):
            LearningSettings.model_validate(wrong)
