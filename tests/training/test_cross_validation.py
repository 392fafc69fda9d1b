"""Folds: who is judged by whom, what an interruption keeps, and that copies go out with their
rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.data.folds import fold_ids
from tamis.errors import CheckpointError
from tamis.training.cross_validation import FoldScores, out_of_fold

TARGETS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0])
GROUPS = np.array([0, 0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9])


def test_parts_keep_groups_together_and_leave_every_class_to_train_on() -> None:
    parts = fold_ids(TARGETS, GROUPS, 2, 3, seed=1)
    assert parts is not None and set(parts.tolist()) == {0, 1, 2}
    assert parts[0] == parts[1] and parts[6] == parts[7]
    for part in range(3):
        assert set(TARGETS[parts != part].tolist()) == {0, 1}
    again = fold_ids(TARGETS, GROUPS, 2, 3, seed=1)
    assert again is not None and parts.tolist() == again.tolist()


def test_too_few_rows_or_no_folds_are_no_parts() -> None:
    assert fold_ids(TARGETS, GROUPS, 2, 0, seed=1) is None
    assert fold_ids(np.array([0, 0, 0, 1]), np.arange(4), 2, 3, seed=1) is None
    two = fold_ids(np.array([0, 0, 0, 1, 1]), np.arange(5), 2, 3, seed=1)
    assert two is not None and set(two.tolist()) == {0, 1}  # as many as the rarest class has


PARTS = np.array([0, 1, 2, 0, 1, 2, 0])


def judge(told: list[Any]) -> Any:
    def fold(rows: np.ndarray, state: Path | None, name: str) -> FoldScores:
        told.append((rows.tolist(), None if state is None else state.name, name))
        if state is not None:
            state.mkdir(parents=True)
            (state / "training.safetensors").write_text("x")
        return FoldScores(
            np.stack([rows, -rows], axis=1).astype(np.float64),
            np.full((len(rows) + 1, 2), float(rows[0] + 1)),
        )

    return fold


def test_every_row_gets_its_own_folds_score() -> None:
    told: list[Any] = []
    found = out_of_fold(judge(told), PARTS, classes=2, identity="a", checkpoint=None)
    assert found.rows[:, 0].tolist() == list(range(7)) and found.rows[:, 1].tolist() == [
        -i for i in range(7)
    ]
    assert (
        found.concatenated[:, 1].tolist() == [1] * 4 + [2] * 3 + [3] * 3
    )  # windows of the parts, one after another
    assert [rows for rows, _, _ in told] == [[0, 3, 6], [1, 4], [2, 5]]
    assert [name for *_, name in told] == [f"training, fold {i} of 3" for i in (1, 2, 3)]


def test_folds_that_ended_are_not_trained_again_and_keep_only_their_scores(tmp_path: Path) -> None:
    def broken(rows: np.ndarray, state: Path | None, name: str) -> FoldScores:
        if 1 in rows:
            raise KeyboardInterrupt
        return judge([])(rows, state, name)

    with pytest.raises(KeyboardInterrupt):
        out_of_fold(broken, PARTS, classes=2, identity="a", checkpoint=tmp_path)
    told: list[Any] = []
    found = out_of_fold(judge(told), PARTS, classes=2, identity="a", checkpoint=tmp_path)
    assert [rows for rows, *_ in told] == [[1, 4], [2, 5]] and found.rows[:, 0].tolist() == list(
        range(7)
    )
    assert found.concatenated[:, 0].tolist() == [1] * 4 + [2] * 3 + [3] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fold-0.npz",
        "fold-1.npz",
        "fold-2.npz",
    ]
    other: list[Any] = []
    out_of_fold(judge(other), PARTS, classes=2, identity="b", checkpoint=tmp_path)
    assert len(other) == 3  # another work's scores are not taken


def test_a_folds_scores_without_joined_texts_are_made_again(tmp_path: Path) -> None:
    out_of_fold(judge([]), PARTS, classes=2, identity="a", checkpoint=tmp_path)
    with np.load(tmp_path / "fold-1.npz") as kept:
        np.savez(
            tmp_path / "fold-1.npz", identity=kept["identity"], logits=kept["logits"]
        )  # as the releases before wrote them
    told: list[Any] = []
    out_of_fold(judge(told), PARTS, classes=2, identity="a", checkpoint=tmp_path)
    assert [rows for rows, *_ in told] == [[1, 4]]


def test_damaged_scores_are_told(tmp_path: Path) -> None:
    out_of_fold(judge([]), PARTS, classes=2, identity="a", checkpoint=tmp_path)
    (tmp_path / "fold-1.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(CheckpointError, match=r"fold-1\.npz is damaged .* delete it"):
        out_of_fold(judge([]), PARTS, classes=2, identity="a", checkpoint=tmp_path)
