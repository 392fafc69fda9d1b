"""Who may write a run folder: new, resumed, finished, foreign, locked, overwritten; nothing else in
it is ever touched.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tamis.config import Recipe
from tamis.errors import RunError
from tamis.files import locked
from tamis.workflows.run_folder import RunFolder, opened
from tests.runs import contents

ASKED: dict[str, Any] = {"data": "abc", "test": None, "recipe": Recipe().model_dump()}


def write_model(folder: RunFolder, report: dict[str, Any]) -> None:
    """Write a model with a report; the folder decides whether the run is finished by it."""
    with folder.replaced() as beside:
        (beside.path / "recipe.toml").write_text(Recipe().to_toml(), encoding="utf-8")
        (beside.path / "model").mkdir()
        (beside.path / "model" / "config.json").write_text(json.dumps(report), encoding="utf-8")
        beside.write_lines("history.jsonl", [{"step": 1}])
        beside.write_json("report.json", report)


QUICK = {"training": {"finished": False}}


def start(
    path: Path, asked: dict[str, Any] = ASKED, *, finish: bool = False, overwrite: bool = False
) -> Recipe | None:
    """Open a run and leave it, unfinished unless told; the recipe that was resumed."""
    with opened(path, asked, overwrite=overwrite) as folder:
        folder.keep_recipe(Recipe().changed({"seed": 7}))
        if finish:
            write_model(folder, {"é": 1})
        return folder.earlier


def test_a_new_run_makes_its_folder_and_resumes_nothing(tmp_path: Path) -> None:
    assert start(tmp_path / "runs" / "deep" / "one") is None
    assert (tmp_path / "runs" / "deep" / "one" / "checkpoint" / "asked.json").is_file()


def test_an_empty_folder_that_is_there_is_taken(tmp_path: Path) -> None:
    assert start(tmp_path) is None


def test_the_same_again_goes_on_with_the_resolved_recipe(tmp_path: Path) -> None:
    start(tmp_path / "run")
    earlier = start(tmp_path / "run")
    assert earlier is not None and earlier.seed == 7


@pytest.mark.parametrize("leftover", [[], ["lock"], [".asked.json.host.1.0.part"]])
def test_a_run_that_was_killed_before_it_wrote_anything_is_begun_again(
    leftover: list[str], tmp_path: Path
) -> None:
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    for name in leftover:
        (tmp_path / "run" / "checkpoint" / name).touch()
    assert start(tmp_path / "run") is None


def test_a_run_that_was_killed_while_it_was_being_cleared_can_be_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path / "run", finish=True)
    (tmp_path / "run" / "plots").mkdir()

    def killed(path: Path, **named: object) -> None:
        if path.name == "plots":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tamis.workflows.run_folder.shutil.rmtree", killed)
        start(tmp_path / "run", overwrite=True)
    assert start(tmp_path / "run", ASKED | {"data": "other"}, overwrite=True) is None
    assert sorted(contents(tmp_path / "run")) == ["checkpoint/asked.json", "checkpoint/recipe.toml"]


@pytest.mark.parametrize(
    "change",
    [{"data": "other"}, {"test": "t"}, {"recipe": Recipe().changed({"seed": 1}).model_dump()}],
)
def test_an_unfinished_run_of_something_else_is_left_alone(
    change: dict[str, Any], tmp_path: Path
) -> None:
    start(tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(
        RunError,
        match=rf"differs from this one in: {next(iter(change))}; choose another folder \(-o DIR; "
        r"in Python: out\), or replace it with --overwrite",
    ):
        start(tmp_path / "run", ASKED | change)
    assert contents(tmp_path / "run") == before


def test_a_finished_run_is_left_alone_byte_for_byte(tmp_path: Path) -> None:
    start(tmp_path / "run", finish=True)
    before = contents(tmp_path / "run")
    with pytest.raises(
        RunError,
        match=r"contains a finished run; choose another folder \(-o DIR; in Python: out\), or "
        r"replace it with --overwrite \(in Python: overwrite=True\)",
    ):
        start(tmp_path / "run")
    assert contents(tmp_path / "run") == before


def test_overwriting_throws_away_a_run_and_nothing_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    start(run, finish=True)
    (run / "checkpoint").mkdir()
    (run / "checkpoint" / "training.safetensors").touch()
    (run / "checkpoint" / "fold-0").mkdir()  # a fold's training was under way
    (run / "checkpoint" / "fold-0" / "training.safetensors").touch()
    (run / "my notes.txt").write_text("kept", encoding="utf-8")
    assert start(run, ASKED | {"data": "other"}, overwrite=True) is None
    assert sorted(contents(run)) == [
        "checkpoint/asked.json",
        "checkpoint/recipe.toml",
        "my notes.txt",
    ]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_refused_and_untouched(
    overwrite: bool, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work", encoding="utf-8")
    (tmp_path / "report.json").write_text("{}", encoding="utf-8")
    before = contents(tmp_path)
    with pytest.raises(
        RunError,
        match=r"exists and is not a run folder; choose another folder \(-o DIR; in Python: out\). "
        r"Its content was not changed",
    ):
        start(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_refused(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file", encoding="utf-8")
    with pytest.raises(RunError, match="exists and is not a run folder"):
        start(tmp_path / "run", overwrite=overwrite)
    with pytest.raises(RunError, match=r"cannot be created \(Not a directory\)"):
        start(tmp_path / "run" / "below", overwrite=overwrite)


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_writers_the_second_is_refused_and_changes_nothing(
    overwrite: bool, tmp_path: Path
) -> None:
    with opened(tmp_path / "run", ASKED) as folder:
        folder.write_lines("history.jsonl", [{"step": 1}])
        before = contents(tmp_path / "run")
        with pytest.raises(
            RunError,
            match=rf"in use by another process \({os.getpid()} on .+\); wait until it ends, or "
            r"choose another folder \(-o",
        ):
            start(tmp_path / "run", overwrite=overwrite)
        assert contents(tmp_path / "run") == before


def test_a_writer_that_came_before_anything_was_written_holds_the_folder_too(
    tmp_path: Path,
) -> None:
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    with (
        locked(tmp_path / "run" / "checkpoint" / "lock") as mine,
        pytest.raises(RunError, match="is in use by another process"),
    ):
        assert mine
        start(tmp_path / "run")


def test_the_lock_goes_when_the_writer_does_however_it_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), opened(tmp_path / "run", ASKED):
        raise KeyboardInterrupt
    assert start(tmp_path / "run") is None
    assert not (tmp_path / "run" / "checkpoint" / "lock").exists()


def test_a_run_that_is_refused_after_it_learned_something_is_kept(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="later"), opened(tmp_path / "run", ASKED) as folder:
        (folder.checkpoint / "training.safetensors").touch()
        raise RunError("later")
    assert sorted(contents(tmp_path / "run")) == [
        "checkpoint/asked.json",
        "checkpoint/training.safetensors",
    ]


def test_what_was_asked_must_be_readable(tmp_path: Path) -> None:
    start(tmp_path / "run")
    (tmp_path / "run" / "checkpoint" / "asked.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="differs from this one in"):
        start(tmp_path / "run")
    assert start(tmp_path / "run", overwrite=True) is None


def test_lines_and_json_are_utf_8_and_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "run", ASKED) as folder:
        folder.write_json("report.json", {"é": 1})
        before = contents(tmp_path / "run")
        with pytest.raises(ZeroDivisionError):
            folder.write_lines("history.jsonl", ({"step": 1 // (2 - i)} for i in range(3)))
        assert contents(tmp_path / "run") == before
        folder.write_lines("history.jsonl", [{"text": "é\n"}, {}])
    assert (tmp_path / "run" / "history.jsonl").read_bytes() == '{"text": "é\\n"}\n{}\n'.encode()


def test_a_finished_run_drops_its_checkpoint(tmp_path: Path) -> None:
    with opened(tmp_path / "run", ASKED) as folder:
        (folder.checkpoint / "training.safetensors").write_bytes(b"large")
        (folder.checkpoint / "fold-1").mkdir()
        write_model(folder, {"training": {"finished": True}})
    assert not (tmp_path / "run" / "checkpoint").exists()
    with pytest.raises(RunError, match="contains a finished run"):
        start(tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_a_quick_model_is_no_finished_run_and_the_next_model_takes_its_place(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    with opened(run, ASKED) as folder:
        before = folder.has_model
        write_model(folder, QUICK)
        assert (before, folder.has_model) == (False, True)
    assert (run / "checkpoint" / "asked.json").is_file()
    with pytest.raises(RunError, match="differs from this one in: data"):
        start(run, ASKED | {"data": "other"})
    with opened(run, ASKED) as folder:
        assert folder.has_model
        write_model(folder, {"training": {"finished": True}})
    assert json.loads((run / "model" / "config.json").read_text())["training"]["finished"]
    assert not (run / "checkpoint").exists()


def test_a_model_that_is_not_written_completely_leaves_the_one_before(tmp_path: Path) -> None:
    with opened(tmp_path / "run", ASKED) as folder:
        write_model(folder, QUICK)
        before = contents(tmp_path / "run")
        with pytest.raises(KeyboardInterrupt), folder.replaced() as beside:
            beside.write_json("recipe.toml", {})
            raise KeyboardInterrupt
        assert contents(tmp_path / "run") == before
    # Killed in the middle of it: nothing of the incomplete model is used.
    (tmp_path / "run" / "checkpoint" / "next").mkdir()
    (tmp_path / "run" / "checkpoint" / "next" / "recipe.toml").touch()
    with opened(tmp_path / "run", ASKED):
        assert contents(tmp_path / "run") == before
