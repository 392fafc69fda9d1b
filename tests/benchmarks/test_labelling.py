"""The benchmarks of labelling: planted labels, confident learning by hand, and the page's table
against the kept figures.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.labelling import flips

ROOT = Path(__file__).parents[2]
FIGURES = {"sms-spam": "average precision", "trec6": "accuracy"}


def test_as_many_labels_as_asked_are_another_class_afterwards() -> None:
    targets = np.arange(200) % 3
    changed, wrong = flips.flipped(targets, 3, 0.1, seed=1)
    assert wrong.sum() == 20
    assert ((changed != targets) == wrong).all() and set(changed) <= {0, 1, 2}
    assert not (flips.flipped(targets, 3, 0.1, seed=2)[1] == wrong).all()


def test_confident_learning_names_the_row_whose_own_class_is_the_least_likely() -> None:
    # Limits: class 0 (.9 + .8 + .1) / 3 = .6, class 1 .8. Row 2 is confidently of class 1: one of
    # three given 0 is truly 1.
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.2, 0.8]])
    named = flips.confident_learning(probabilities, np.array([0, 0, 0, 1, 1]))
    assert named.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("task", list(FIGURES))
def test_the_table_of_suggestions_is_made_of_the_kept_figures(task: str) -> None:
    kept = [
        json.loads(line)
        for line in (ROOT / "benchmarks" / "labelling" / "results.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    ]
    page = (ROOT / "docs" / "labelling.md").read_text(encoding="utf-8")
    strategies = {row["strategy"] for row in kept if row["task"] == task}
    assert strategies
    for strategy in strategies:
        points = np.array(
            [row["points"] for row in kept if (row["task"], row["strategy"]) == (task, strategy)]
        )
        assert points[0, ::2, 0].tolist() == [30, 90, 150, 210, 270]
        cells = [
            f"{mean:.3f} ({spread:.3f})"
            for mean, spread in zip(
                points[:, ::2, 1].mean(0), points[:, ::2, 1].std(0), strict=True
            )
        ]
        assert f"| {task}, {FIGURES[task]}, `{strategy}` | {' | '.join(cells)} |" in page
