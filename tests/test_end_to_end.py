"""Whole runs through the command line: the same bytes again, from a recipe, after a kill and after
Ctrl-C; what is never overwritten.
"""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from tamis.config import Recipe, fields
from tamis.errors import ConfigError
from tests import runs
from tests.rows import messages

SAME = (
    "model/config.json",
    "model/model.safetensors",
    "model/tokenizer.json",
    "model/tokenizer_config.json",
)
SAME_LINES = ("predictions.jsonl", "history.jsonl")
LONG = (*runs.TINY, "--set", "train.epochs=16", "--set", "train.patience=0")
SLOWED = """
import time
from tamis.training import checkpoint
from tamis.training.loop import Training
checkpoint.EVERY_S = 0.0
step = Training.train_step
Training.train_step = lambda self, rows, states: (time.sleep(1.0), step(self, rows, states))[1]
"""
"""A state after every step, and steps slow enough for a signal to find one under way."""


def same(one: Path, other: Path) -> None:
    """Every file that decides or tells a score has the same bytes."""
    differing = [
        name
        for name in (*SAME, *SAME_LINES, "recipe.toml")
        if (one / name).read_bytes() != (other / name).read_bytes()
    ]
    assert not differing


@cache
def uninterrupted() -> Path:
    return runs.made_once("long", lambda path: runs.write_run(path, *LONG))


def begun(run: Path) -> subprocess.Popen[bytes]:
    """A training in a process of its own that has kept a state."""
    process = runs.process("train", runs.table(), *LONG, "-o", run, before=SLOWED)
    until = time.monotonic() + 90
    while not (run / "checkpoint" / "training.safetensors").is_file():
        assert process.poll() is None and time.monotonic() < until, process.communicate()[
            1
        ].decode()
        time.sleep(0.01)
    return process


def test_the_same_seed_gives_the_same_bytes_in_another_folder(tmp_path: Path) -> None:
    said = runs.tamis("train", runs.table(), *runs.TINY, "-o", tmp_path / "again")
    assert said.code == 0, said.err
    same(tmp_path / "again", runs.finished_run())


def test_training_from_the_runs_own_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    said = runs.tamis(
        "train",
        runs.table(),
        "--recipe",
        runs.finished_run() / "recipe.toml",
        "-o",
        tmp_path / "again",
    )
    assert said.code == 0, said.err
    same(tmp_path / "again", runs.finished_run())


def test_every_setting_that_may_be_none_is_none_by_default_since_toml_cannot_say_it() -> None:
    refused, none = set(), set()
    for section, name, field in fields():
        setting = f"{section}.{name}" if section else name
        try:
            recipe = Recipe().changed({setting: None})
        except ConfigError:
            refused.add(setting)
            continue
        if getattr(getattr(recipe, section) if section else recipe, name) is None:
            none.add(setting)
            assert field.get_default(call_default_factory=True) is None, setting
    assert {"train.epochs", "text.window"} <= none and {"seed", "tune"} <= refused


def test_no_limit_of_patience_is_written_as_zero() -> None:
    assert Recipe().changed({"train.patience": None}).train.patience == 0


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    said = runs.tamis("train", runs.table(), *runs.TINY, "--seed", "43", "-o", tmp_path / "other")
    assert said.code == 0, said.err
    weights = "model/model.safetensors"
    assert (tmp_path / "other" / weights).read_bytes() != (
        runs.finished_run() / weights
    ).read_bytes()


@pytest.mark.parametrize("tune", ["head", "blocks:1"])
def test_tuning_over_kept_states_gives_the_same_bytes_as_computing_them(
    tune: str, tmp_path: Path
) -> None:
    options = (
        "--backbone",
        runs.pretrained(),
        "--threads",
        "1",
        "--tune",
        tune,
        "--set",
        "data.validation_share=0.3",
    )
    for name in ("first", "second"):  # the second finds the frozen trunk's states in the cache
        assert (
            runs.tamis("train", runs.table(), *options, *runs.EPOCH, "-o", tmp_path / name).code
            == 0
        )
    same(tmp_path / "first", tmp_path / "second")


def test_a_killed_training_goes_on_with_the_same_command_to_the_same_bytes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = begun(run)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["tune"] == "head" and not report["training"]["finished"]
    assert runs.tamis("predict", run, "hello").code == 0  # by the quick model
    said = runs.tamis("train", runs.table(), *LONG, "-o", run)
    assert (
        said.code == 0
        and "contains an unfinished run with the same recipe; resuming it" in said.err
    )
    same(run, uninterrupted())


def test_a_second_process_is_refused_and_ctrl_c_ends_the_first_with_130_and_loses_nothing(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    process = begun(run)
    for overwrite in ((), ("--overwrite",)):
        error = runs.tamis("train", runs.table(), *LONG, *overwrite, "-o", run).error
        assert (
            f"is in use by another process ({process.pid} on {platform.node()}); wait until it "
            "ends, or choose another folder (-o DIR;" in error
        )
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == b"" and b"Traceback" not in err
    assert err.decode().splitlines()[-1].startswith("interrupted; finished results are kept")
    assert runs.tamis("train", runs.table(), *LONG, "-o", run).code == 0
    same(run, uninterrupted())


@pytest.mark.parametrize(
    "place",
    [
        "tamis.workflows.results.write_html",
        "tamis.workflows.run_folder.RunFolder.write_lines",
        "tamis.workflows.fitted_run.evaluate_classifier",
    ],
)
def test_a_stop_after_training_is_resumed_too(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def stopped(*positional: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, stopped)
        assert runs.tamis("train", runs.table(), *runs.TINY, "-o", run).code == 130
    assert not (run / "report.json").exists()
    assert runs.tamis("train", runs.table(), *runs.TINY, "-o", run).code == 0
    same(run, runs.finished_run())


def test_an_unfinished_run_asked_for_something_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def stopped(*positional: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tamis.workflows.fitted_run.evaluate_classifier", stopped)
        assert runs.tamis("train", runs.table(), *runs.TINY, "-o", run).code == 130
    before = runs.contents(run)
    error = runs.tamis("train", runs.table(), *runs.TINY, "--seed", "7", "-o", run).error
    assert (
        "unfinished run that differs from this one in: recipe;" in error and "--overwrite" in error
    )
    other = runs.write_table(tmp_path / "other.tsv", messages()[:-2])
    assert (
        "differs from this one in: data;" in runs.tamis("train", other, *runs.TINY, "-o", run).error
    )
    assert runs.contents(run) == before


def test_a_finished_run_is_left_alone_and_overwritten_only_when_asked(tmp_path: Path) -> None:
    run = runs.copy_of(runs.finished_run(), tmp_path / "run")
    before = runs.contents(run)
    error = runs.tamis("train", runs.table(), *runs.TINY, "-o", run).error
    assert (
        "contains a finished run; choose another folder (-o DIR; in Python: out), or replace it "
        "with --overwrite (in Python: overwrite=True)" in error
    )
    assert runs.contents(run) == before
    said = runs.tamis("train", runs.table(), *runs.TINY, "--seed", "5", "--overwrite", "-o", run)
    assert said.code == 0, said.err
    assert "seed = 5" in (run / "recipe.toml").read_text(encoding="utf-8")
    assert (run / "model/model.safetensors").read_bytes() != before["model/model.safetensors"]


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_folder_of_something_else_is_refused_and_untouched(
    overwrite: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years", encoding="utf-8")
    error = runs.tamis(
        "train", runs.table(), *runs.TINY, *overwrite, "-o", tmp_path / "thesis"
    ).error
    assert "exists and is not a run folder" in error
    assert runs.contents(tmp_path / "thesis") == {"chapter.tex": b"years"}


def test_without_o_the_folder_is_named_after_data_backbone_and_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = runs.tamis("train", runs.table(), *runs.TINY, "--tune", "head", "--json")
    assert said.code == 0, said.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["messages-scratch-tiny-head"]
    assert json.loads(said.out)["tune"] == "head"
