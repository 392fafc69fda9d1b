"""`tamis score`, killed at any moment and repeated, ends with the files of an undisturbed run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import runs
from tests.faults.kills import Forks, Work, survived
from tests.rows import messages

ROWS, PART = 60, 9


def table(here: Path) -> None:
    """Messages with a column of their own, every tenth without a text."""
    with (here / "messages.jsonl").open("w", encoding="utf-8") as file:
        for number, (_, text) in enumerate(messages()[:ROWS]):
            row = {"number": number, "text": None if number % 10 == 3 else text}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def without_times(name: str, content: bytes) -> bytes:
    """The summary without what was measured, and without what was done earlier."""
    if not name.endswith("summary.json"):
        return content
    summary = json.loads(content)
    del summary["input"]["name"]  # the folder
    return json.dumps({key: summary[key] for key in summary if key not in MEASURED}).encode()


MEASURED = ("timing", "seconds", "rows_per_second", "engine", "resumed", "versions")


def score(processes: int = 1) -> Work:
    return Work(
        (
            *("score", str(runs.head_model()), "{here}/messages.jsonl", "{here}/scored"),
            *("--text", "text", "--part-rows", str(PART)),
            *("--processes", str(processes), "--threads", str(processes)),
        ),
        before=table,
        shown=without_times,
        already="finished",
    )


@pytest.mark.slow  # every run starts processes that import torch
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_scoring_ends_like_an_undisturbed_one(
    processes: int, forks: Forks, kills: int, tmp_path: Path
) -> None:
    survived(forks, score(processes), tmp_path, kills)
