"""The folder of the results: what is refused, what is resumed, and that nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tamis.errors import ConfigError, RunError
from tamis.files import locked
from tamis.workflows.reproduce_tp2.output_folder import CONTENT, opened, refuse_used

REQUEST: dict[str, Any] = {"recipe": {"seed": 42}, "data": "abc"}


class Killed(BaseException):
    """Stands for Ctrl-C or the end of the process."""


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def interrupted(path: Path) -> None:
    with pytest.raises(Killed), opened(path, REQUEST) as folder:
        folder.once("first", lambda: {"value": 0.1})
        raise Killed


def finished(path: Path) -> None:
    with opened(path, REQUEST) as folder:
        (path / "tp2.html").write_text("page")
        folder.finish({"rows": []})


def test_an_interrupted_run_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "tp2"
    interrupted(path)
    calls = []
    with opened(path, REQUEST) as folder:
        assert folder.once("first", lambda: calls.append(1) or {}) == {"value": 0.1}  # type: ignore[func-returns-value]
        assert folder.once("second", lambda: {"value": 2}) == {"value": 2}
        folder.finish({"rows": [1]})
    assert calls == []
    assert json.loads((path / "tp2.json").read_text()) == {"experiment": "tp2", "rows": [1]}
    assert not (path / "checkpoint").exists()


def test_a_finished_run_is_left_alone_without_overwrite(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / "notes.txt").write_text("of the user")
    before = content(tmp_path)
    with pytest.raises(RunError, match="finished results; choose another folder with --out, or"):
        refuse_used(tmp_path)
    with pytest.raises(RunError, match="pass --overwrite"), opened(tmp_path, REQUEST):
        pass
    assert content(tmp_path) == before
    with opened(tmp_path, {**REQUEST, "data": "other"}, overwrite=True) as folder:
        assert not any((tmp_path / name).exists() for name in CONTENT)
        folder.finish({})
    assert (tmp_path / "notes.txt").read_text() == "of the user"


def test_an_interrupted_run_with_another_request_is_left_alone(tmp_path: Path) -> None:
    interrupted(tmp_path)
    before = content(tmp_path)
    other = {**REQUEST, "data": "other"}
    with pytest.raises(RunError, match=r"differs from this one in: data; choose"):
        with opened(tmp_path, other):
            pass
    assert content(tmp_path) == before
    with opened(tmp_path, other, overwrite=True) as folder:
        assert folder.once("first", lambda: {"value": "new"}) == {"value": "new"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {"loss.png": "a picture of the user"},
        {"report.json": "{}", "recipe.toml": "", "plots/loss.png": ""},
        {"checkpoint/asked.json": '{"recipe": 1}', "checkpoint/lock": ""},
        {"tp2.json": "not ours", "notes.txt": ""},
        {"tp2.json": '{"experiment": "mine"}'},
        {"checkpoint/request.json": "[]"},
    ],
)
def test_files_of_others_are_never_touched(
    tmp_path: Path, files: dict[str, str], overwrite: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(RunError, match=r"has no results of tp2.*was not changed"):
        with opened(tmp_path, REQUEST, overwrite=overwrite):
            pass
    assert content(tmp_path) == files


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tp2").write_text("text")
    with pytest.raises(RunError, match="has no results of tp2"):
        refuse_used(tmp_path / "tp2")
    with pytest.raises(RunError, match="cannot be created"), opened(tmp_path / "tp2" / "a", {}):
        pass
    assert (tmp_path / "tp2").read_text() == "text"


def test_a_refused_setting_leaves_the_disk_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "tp2"
    with pytest.raises(ConfigError), opened(path, REQUEST):
        raise ConfigError("a setting")
    assert not (tmp_path / "runs").exists()


def test_an_error_after_a_training_keeps_the_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), opened(tmp_path, REQUEST) as folder:
        folder.once("first", lambda: {"value": 1})
        raise ConfigError("a setting")
    with opened(tmp_path, REQUEST) as folder:
        assert folder.once("first", lambda: {}) == {"value": 1}


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with locked(tmp_path / "checkpoint" / "lock") as mine:
        assert mine
        with pytest.raises(RunError, match="in use by another process"):
            with opened(tmp_path, REQUEST):
                pass


def test_a_folder_with_nothing_but_a_lock_is_new(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "lock").touch()
    with opened(tmp_path, REQUEST) as folder:
        folder.finish({})
    assert (tmp_path / "tp2.json").is_file()
