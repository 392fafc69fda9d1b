"""The stages of a training: the plan, the quick model, the tuned one in its place, the better of
both, interruptions, and budgets.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tamis as package
from tamis import ConfigError, TextClassifier
from tamis.config import Recipe, read_recipe
from tamis.workflows import budget, results, training_stages
from tamis.workflows.deadline import Deadline, TooSlowError
from tamis.workflows.fitted_run import fitted_classifier
from tamis.workflows.quick_model import compare_held_out
from tamis.workflows.run_folder import RunFolder
from tamis.workflows.time_plan import TimePlan, plan_time
from tests import runs
from tests.rows import messages

MODEL = ("model/model.safetensors", "model/tokenizer.json", "predictions.jsonl", "recipe.toml")
USELESS = (*runs.TINY, "--set", "train.learning_rate=1e-7", *runs.EPOCH)
"""A tuned model that learns nothing."""


def report(run: Path) -> dict[str, Any]:
    return json.loads((run / "report.json").read_text(encoding="utf-8"))


def same(one: Path, other: Path, names: tuple[str, ...] = MODEL) -> None:
    assert [n for n in names if (one / n).read_bytes() != (other / n).read_bytes()] == []


def train(run: Path, *options: str | Path) -> runs.Said:
    said = runs.tamis("train", runs.table(), *(options or runs.TINY), "-o", run)
    assert said.code == 0, said.err
    return said


def quick_run() -> Path:
    return runs.made_once("quick-run", lambda path: runs.write_run(path, *runs.TINY, "--quick"))


def test_the_plan_comes_after_the_rows_then_the_quick_model_with_tfidf_then_the_tuned_one(
    tmp_path: Path,
) -> None:
    said = train(tmp_path / "run")
    lines = said.err.splitlines()
    assert re.fullmatch(r"Read 124 rows of \S+: \d+ 'ham', \d+ 'spam'\.", lines[0])
    assert lines[1].startswith(
        "Plan: first a quick model (the exact head on frozen features of scratch:tiny) on 99 "
        "training rows, less than 10 seconds; then the whole model (4 epochs), less than 10 seconds"
    )
    figures = next(n for n, line in enumerate(lines) if line.startswith("Quick model after"))
    f1 = report(quick_run())["test"]["f1"]
    tfidf = report(quick_run())["baselines"]["tfidf"]["f1"]
    assert f"F1 {f1:.3f} on 25 test rows (TF-IDF {tfidf:.3f})" in lines[figures]
    assert f"It can be used now: {tmp_path / 'run'}." in lines[figures + 1]
    assert any(line.startswith("tune: full (auto") for line in lines[figures + 2 :])
    told = report(tmp_path / "run")["training"]
    assert (told["finished"], told["kept"], told["budget"]) == (True, "tuned", None)
    assert told["quick"]["test"]["f1"] == f1
    same(tmp_path / "run", runs.finished_run())


def test_a_whole_run_folder_of_the_quick_model_is_there_when_the_tuning_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, seen = tmp_path / "run", []
    fit = fitted_classifier

    def watched(recipe: Recipe, *rest: Any) -> TextClassifier:
        if recipe.tune != "head":
            told = report(run)
            assert told["tune"] == "head" and not told["training"]["finished"]
            assert "This is the quick model. Its tuning has not ended." in told["notes"]
            same(run, quick_run())
            assert runs.tamis("predict", run, "free prize").code == 0
            assert runs.tamis("evaluate", run, runs.table()).code == 0
            assert (run / "report.html").is_file() and (run / "features.safetensors").is_file()
            seen.append(recipe.tune)
        return fit(recipe, *rest)

    monkeypatch.setattr(training_stages, "fitted_classifier", watched)
    train(run)
    assert seen == ["auto"]
    assert not any("has not ended" in note for note in report(run)["notes"])


@pytest.mark.parametrize(("few", "drawn"), [(True, ["full"]), (False, ["head", "full"])])
def test_the_quick_model_of_few_rows_is_written_without_plots(
    few: bool, drawn: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    write = results.write_run

    def watched(folder: RunFolder, classifier: TextClassifier, *rest: Any, plots: bool) -> None:
        if plots:
            asked.append(classifier.recipe_.tune)
        write(folder, classifier, *rest, plots=plots)

    monkeypatch.setattr("tamis.workflows.fitted_run.write_run", watched)
    if not few:
        monkeypatch.setattr("tamis.workflows.training_stages.is_low_data", lambda *_: False)
    train(tmp_path / "run")
    assert asked == drawn


def test_quick_stops_after_the_quick_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = runs.tamis("train", runs.table(), *runs.TINY, "--quick", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    run = tmp_path / "runs" / "messages-scratch-tiny-quick"
    assert (found["tune"], found["training"]["kept"]) == ("head", "quick")
    assert found["training"]["finished"] and not (run / "checkpoint").exists()
    assert "Plan: the exact head on 99 training rows, less than 10 seconds." in said.err
    same(run, quick_run())
    recipe = read_recipe(run / "recipe.toml")
    assert (recipe.tune, recipe.text.pooling) == ("head", "mean")
    assert recipe.text.layers in (1, 2)  # chosen
    train(tmp_path / "again", "--recipe", run / "recipe.toml")
    same(tmp_path / "again", run)


def test_an_exact_head_that_was_asked_for_is_one_stage(tmp_path: Path) -> None:
    said = train(tmp_path / "run", *runs.TINY, "--tune", "head")
    assert "Plan: the exact head on" in said.err and "Quick model" not in said.err
    assert report(tmp_path / "run")["training"]["kept"] == "tuned"


def test_ctrl_c_leaves_a_usable_quick_model_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tamis.training.checkpoint.Checkpointer.on_epoch", stopped)
        said = runs.tamis("train", runs.table(), *runs.TINY, "-o", run)
    assert (said.code, said.out) == (130, "")
    assert f"The quick model in {run} is usable. Repeat the same command to go on" in said.err
    assert said.err.splitlines()[-1].startswith("interrupted; finished results are kept")
    same(run, quick_run(), ("model/model.safetensors", "predictions.jsonl", "recipe.toml"))
    assert runs.tamis("predict", run, "hello").code == 0
    progress = run / "checkpoint" / "progress.json"
    kept = json.loads(progress.read_text(encoding="utf-8"))
    kept["seconds"] |= {"train": 1000.0, "quick": 500.0}
    progress.write_text(json.dumps(kept), encoding="utf-8")
    said = train(run)
    assert "contains an unfinished run with the same recipe; resuming it" in said.err
    assert "Plan: go on with the whole model (4 epochs)." in said.err
    assert "Quick model after" not in said.err  # it is not made again
    assert "tune: full (auto: the backbone has random weights" in said.err  # nobody asked for it
    timing = report(run)["timing"]
    assert timing["train"] > 1000 and timing["quick"] == 500  # of both processes
    same(run, runs.finished_run())
    assert not (run / "checkpoint").exists()


def test_an_interrupted_run_can_be_ended_with_its_quick_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tamis.training.checkpoint.Checkpointer.on_epoch", _interrupt)
        assert runs.tamis("train", runs.table(), *runs.TINY, "-o", tmp_path / "run").code == 130
    train(tmp_path / "run", *runs.TINY, "--quick")
    same(tmp_path / "run", quick_run())
    assert report(tmp_path / "run")["training"]["finished"]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_damaged_note_of_the_quick_model_only_makes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("tamis.training.checkpoint.Checkpointer.on_epoch", _interrupt)
        assert runs.tamis("train", runs.table(), *runs.TINY, "-o", run).code == 130
    for name in ("quick.npz", "progress.json"):
        assert (run / "checkpoint" / name).is_file()
        (run / "checkpoint" / name).write_bytes(b"{")
    assert "Quick model after" in train(run).err
    same(run, runs.finished_run())


def test_an_error_of_the_tuning_keeps_the_quick_model_and_says_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = runs.tamis(
        "train", runs.table(), *runs.TINY, "--set", "train.learning_rate=1e30", "-o", run
    )
    assert said.code == 1 and f"The quick model in {run} is usable." in said.err
    assert "lower train.learning_rate" in said.err.splitlines()[-1]
    assert runs.tamis("predict", run, "hello").code == 0


def test_too_many_blocks_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    said = runs.tamis("train", runs.table(), *runs.TINY, "--tune", "blocks:9", "-o", tmp_path / "r")
    assert "tune = blocks:9: the backbone has only 3 blocks" in said.error
    assert not (tmp_path / "r").exists()


def test_a_quick_model_that_is_better_on_held_out_rows_is_kept(tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = train(run, *USELESS)
    told = report(run)["training"]
    assert told["kept"] == "quick" and report(run)["tune"] == "head"
    found = told["comparison"]
    assert found["better"] == "quick" and found["quick"] > found["tuned"]
    assert found["rows"] == report(run)["rows"]["validation"]  # of the training rows
    note = next(n for n in report(run)["notes"] if n.startswith("The quick model was kept"))
    assert note in said.err and "25 held-out training rows" in note
    assert {"data", "tuning", "train"} <= report(run)["timing"].keys()
    train(tmp_path / "again", "--recipe", run / "recipe.toml")
    same(tmp_path / "again", run)
    same(run, quick_run(), ("predictions.jsonl",))


def test_what_was_asked_for_is_kept_and_the_report_says_that_the_quick_model_is_better(
    tmp_path: Path,
) -> None:
    train(tmp_path / "run", *USELESS, "--tune", "full")
    found = report(tmp_path / "run")
    assert (found["tune"], found["training"]["kept"]) == ("full", "tuned")
    assert any(
        note.startswith("The quick model is better") and "because tune = full was" in note
        for note in found["notes"]
    )


def test_a_model_that_is_trained_for_changed_texts_is_kept_whatever_unchanged_rows_say(
    tmp_path: Path,
) -> None:
    train(tmp_path / "run", *USELESS, "--set", "train.augment_positives=1")
    found = report(tmp_path / "run")
    assert found["training"]["comparison"]["better"] == "quick"
    assert found["training"]["kept"] == "tuned"
    assert any("because it is trained for changed texts" in note for note in found["notes"])


def test_the_models_are_compared_on_the_rows_that_both_were_held_out_of() -> None:
    labels = ["ham", "spam"] * 6
    truth = np.array([label == "spam" for label in labels])
    right = np.stack([np.where(truth, 0.1, 0.9), np.where(truth, 0.9, 0.1)], 1)
    every, some = np.arange(12), np.arange(4, 12)
    recipe = Recipe()
    better = compare_held_out((every, right), (some, 1 - right[4:]), labels, recipe)
    assert better is not None and better.better == "quick" and better.rows == 8
    assert better.quick == 1.0 and better.metric == "average precision"
    worse = compare_held_out((every, 1 - right), (some, right[4:]), labels, recipe)
    assert worse is not None and worse.better == "tuned"
    # Rows that only one of them was held out of do not count, and level is the tuned one.
    mixed = right.copy()
    mixed[:4] = 1 - right[:4]
    level = compare_held_out((every, mixed), (some, right[4:]), labels, recipe)
    assert level is not None and level.better == "tuned" and level.quick == level.tuned == 1.0
    macro = recipe.changed({"decision.scoring": "f1_macro"})
    found = compare_held_out((every, right), (some, 1 - right[4:]), labels, macro)
    assert found is not None and found.metric == "macro F1" and found.better == "quick"
    ham = np.arange(0, 12, 2)
    assert compare_held_out((every, right), (ham, right[ham]), labels, recipe) is None
    none = np.arange(0)
    assert compare_held_out((none, right[:0]), (some, right[4:]), labels, recipe) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--minutes", "0"), "expected a number above 0, such as 5, got 0"),
        (("--minutes", "-3"), "expected a number above 0, such as 5, got -3"),
        (("--minutes", "nan"), "expected a number above 0"),
        (("--minutes", "inf"), "expected a number above 0"),
        (("--minutes", "soon"), "--minutes"),
        (("--quick", "--minutes", "5"), "exclude each other"),
        (("--quick", "--tune", "full"), "quick trains the head alone, but tune = full"),
    ],
)
def test_wrong_extents_are_wrong_usage(options: tuple[str, ...], told: str, tmp_path: Path) -> None:
    said = runs.tamis("train", runs.table(), *runs.TINY, *options, "-o", tmp_path / "run")
    assert said.code == 2 and told in said.err and not (tmp_path / "run").exists()


def test_quick_and_minutes_are_options_of_python(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "backbone": "scratch:tiny",
        "threads": 1,
        "settings": runs.settings(),
    }
    found = package.train(runs.table(), tmp_path / "quick", quick=True, **options)
    assert found.to_dict()["training"]["kept"] == "quick"
    same(tmp_path / "quick", quick_run())
    found = package.train(runs.table(), tmp_path / "short", minutes=1, **options)
    assert found.to_dict()["training"]["budget"]["minutes"] == 1
    for wrong in ({"minutes": 0}, {"minutes": True}, {"quick": True, "minutes": 1}):
        with pytest.raises(ConfigError, match="minutes"):
            package.train(runs.table(), tmp_path / "none", **options, **wrong)
    assert not (tmp_path / "none").exists()


def test_a_budget_for_everything_changes_nothing(tmp_path: Path) -> None:
    said = train(tmp_path / "run", *runs.TINY, "--minutes", "5")
    assert "then what can be tuned within 5 minutes in all." in said.err
    assert "nothing was given up" in said.err
    same(tmp_path / "run", runs.finished_run())
    told = report(tmp_path / "run")["training"]["budget"]
    assert told["chosen"] == told["planned"] == {"tune": "full", "epochs": 4, "cv_folds": 0}


def test_a_budget_for_nothing_still_gives_the_quick_model(tmp_path: Path) -> None:
    said = train(tmp_path / "run", *runs.TINY, "--minutes", "0.001")
    assert "no tuning fits, so the quick model is the result" in said.err
    told = report(tmp_path / "run")["training"]
    assert told["finished"] and told["kept"] == "quick" and told["budget"]["chosen"] is None
    notes = report(tmp_path / "run")["notes"]
    assert told["budget"]["sentence"] in notes
    assert not any("has not ended" in note for note in notes)
    same(tmp_path / "run", quick_run())
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) > 1


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which an epoch of scratch:tiny seems to take a minute."""

    def planned(*args: Any, **named: Any) -> TimePlan:
        plan = plan_time(*args, **named)
        work, speed = plan.forecast.work, plan.forecast.speed
        speed = replace(speed, reading_s=0.0, training_s=60 / work.tokens)
        return TimePlan(replace(plan.forecast, speed=speed), 1.0)

    monkeypatch.setattr(training_stages, "plan_time", planned)


EIGHT = (*runs.TINY, "--set", "train.epochs=8")


def test_fewer_epochs_are_chosen_for_a_budget_and_recorded(tmp_path: Path, slow: None) -> None:
    said = train(tmp_path / "run", *EIGHT, "--minutes", "5")
    assert "Budget of 5 minutes: the whole model (4 epochs)" in said.err
    assert "given up: the whole model (8 epochs) would take 6 to 13 minutes" in said.err
    recipe = read_recipe(tmp_path / "run" / "recipe.toml")
    assert (recipe.tune, recipe.train.epochs) == ("full", 4)
    assert "tune: full (chosen for a budget of 5 minutes)" in said.err
    train(tmp_path / "again", "--recipe", tmp_path / "run" / "recipe.toml")
    same(tmp_path / "again", tmp_path / "run")


def test_a_resumed_budget_keeps_its_choice(
    tmp_path: Path, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = tmp_path / "run", (*EIGHT, "--minutes", "5")
    with monkeypatch.context() as patch:
        patch.setattr("tamis.training.checkpoint.Checkpointer.on_epoch", _interrupt)
        assert runs.tamis("train", runs.table(), *asked, "-o", run).code == 130
    other = runs.tamis("train", runs.table(), *EIGHT, "--minutes", "9", "-o", run)
    assert "differs from this one in: minutes;" in other.error
    with monkeypatch.context() as patch:  # now nothing would fit
        patch.setattr(budget, "choose_within", lambda *rest: pytest.fail("chosen again"))
        train(run, *asked)
    assert read_recipe(run / "recipe.toml").train.epochs == 4
    assert report(run)["training"]["budget"]["chosen"]["epochs"] == 4
    train(tmp_path / "whole", *asked)
    same(run, tmp_path / "whole")


def test_a_training_that_turns_out_slower_is_stopped_and_a_smaller_one_chosen(
    tmp_path: Path, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[int] = []

    class Stops:
        def __init__(self, at: float, *, trainings: int) -> None:
            assert trainings == 1

        def __call__(self, name: str, amount: int, total: int) -> None:
            if not stops and name.startswith("training"):
                stops.append(total)
                raise TooSlowError(480.0)  # twice the forecast of four epochs

    monkeypatch.setattr(budget, "Deadline", Stops)
    said = train(tmp_path / "run", *EIGHT, "--minutes", "5")
    assert stops and "The training is slower here than measured before it" in said.err
    assert "the whole model (4 epochs)" in said.err
    assert read_recipe(tmp_path / "run" / "recipe.toml").train.epochs == 2
    train(tmp_path / "again", "--recipe", tmp_path / "run" / "recipe.toml")
    same(tmp_path / "again", tmp_path / "run", (*MODEL, "history.jsonl"))


def test_a_budget_that_is_used_up_in_the_middle_ends_with_the_quick_model(
    tmp_path: Path, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(self: object, name: str, amount: int, total: int) -> None:
        if name.startswith("training"):
            raise TooSlowError(float("inf"))

    monkeypatch.setattr(Deadline, "__call__", late)
    train(tmp_path / "run", *EIGHT, "--minutes", "5")
    assert report(tmp_path / "run")["training"]["kept"] == "quick"
    same(tmp_path / "run", quick_run(), ("predictions.jsonl",))


def test_three_classes_and_no_test_rows_have_a_figure_line_too(tmp_path: Path) -> None:
    rows = [
        (("plan", "chat")[n % 2] if label == "ham" else "spam", text)
        for n, (label, text) in enumerate(messages())
    ]
    data = runs.write_table(tmp_path / "three.tsv", rows)
    said = runs.tamis("train", data, *runs.TINY, "-o", tmp_path / "three")
    assert said.code == 0 and ": macro F1 0." in said.err and "(TF-IDF 0." in said.err
    said = train(tmp_path / "none", *runs.TINY, "--split", "none")
    assert "held-out rows." in next(x for x in said.err.splitlines() if x.startswith("Quick model"))
