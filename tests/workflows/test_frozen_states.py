"""How often a frozen trunk runs in `tamis train`: once for each distinct message, and not at all
where another run has kept its states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tamis.config import Recipe
from tamis.workflows.environment import Listener
from tamis.workflows.train import train
from tests import runs
from tests.rows import messages


class Work:
    """A progress that writes down tasks and the windows computed in them."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.name = ""

    def task(self, name: str, *, total: int, unit: str, done: int = 0) -> Work:
        self.name = name
        self.done.setdefault(name, 0)
        return self

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.done[self.name] += amount


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Short messages, some of them twice, so that a text is a window."""
    rows = [(label, text) for label, text in messages() if 10 < len(text) < 120]
    return runs.write_table(tmp_path / "messages.tsv", [*rows, *rows[:20]])


def test_a_frozen_trunk_runs_once_for_each_distinct_message(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.workflows.results.write_all", lambda *rest, **named: {})
    settings: dict[str, Any] = {"backbone": str(runs.pretrained()), "tune": "head"}
    # with other class weights another layer could be chosen
    settings |= {"text.layers": 3, "text.pooling": "mean"}
    recipe = Recipe().changed({**settings, "compute.threads": 1, "decision.cv_folds": 0})
    distinct = len({line.split("\t")[1] for line in table.read_text().splitlines()})
    first = Work()
    report = train(str(table), recipe, tmp_path / "a", listener=Listener(progress=first)).to_dict()
    assert report["test"] is not None and report["tune"] == "head"
    assert first.done["frozen trunk"] == distinct
    again = Work()
    weighted = recipe.changed({"train.class_weight": "balanced"})
    train(str(table), weighted, tmp_path / "b", listener=Listener(progress=again))
    assert "frozen trunk" not in again.done
