"""A run folder, killed at every one of its operations on files: it holds one whole model from the
first on, and opened again it comes to the same end.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import runs
from tests.faults.kills import Forks, Work, differences, made, no_half_file, state_of

PROGRAM = """
import json, sys
from pathlib import Path
from tamis.config import Recipe
from tamis.errors import RunError
from tamis.workflows import run_folder
from tamis.workflows.run_folder import opened
if not {exchange}:
    run_folder.exchange = lambda one, other: False
recipe = Recipe()
def write(folder, number):
    with folder.replaced() as beside:
        for name in ("model", "plots"):
            (beside.path / name).mkdir()
            for part in ("one", "other"):
                (beside.path / name / part).write_text(str(number))
        (beside.path / "recipe.toml").write_text(recipe.to_toml())
        beside.write_lines("history.jsonl", [{{"model": number}}])
        beside.write_json("report.json", {{"training": {{"finished": number == 2}}}})
with opened(Path("run"), {{"data": "abc", "recipe": recipe.model_dump()}}) as folder:
    folder.keep_recipe(recipe)
    if not folder.has_model:
        write(folder, 1)
    print("usable", flush=True)
    write(folder, 2)
"""


@pytest.mark.parametrize("exchange", [True, False])
def test_at_every_moment_there_is_one_whole_model(
    exchange: bool, forks: Forks, tmp_path: Path
) -> None:
    work = Work((), program=PROGRAM.format(exchange=exchange))
    here = made(tmp_path / "whole", work)
    end = forks.run(work, here)
    assert end.code == 0 and end.operations > 60, end
    expected = state_of(forks, work, here)
    moved_aside = 0
    for operation in range(1, end.operations + 1):
        here = made(tmp_path / str(operation), work)
        killed = forks.run(work, here, {"operation": operation})
        assert killed.code == -9, killed
        no_half_file(here)
        model = runs.contents(here / "run" / "model")
        numbers = {content for name, content in model.items() if name != ".new"}
        assert len(numbers) <= 1, operation
        if "usable" in killed.out and not numbers:
            moved_aside += 1
        again = forks.run(work, here)
        assert again.code == 0 or "contains a finished run" in again.err, (operation, again)
        assert differences(expected, state_of(forks, work, here)) == [], operation
    # Without an exchange, model and plots are gone between two renames each.
    assert moved_aside <= (0 if exchange else 2)
    assert json.loads(expected["run/report.json"])["training"]["finished"]
