"""tamis.train: what the command line does with a table, done from Python."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tamis as package
from tamis import ConfigError, DataError, RunError, TextClassifier
from tamis.config import Recipe
from tamis.workflows.training_options import TrainingOptions, training_recipe
from tests.rows import messages
from tests.runs import TINY, contents, settings, table, tamis

LABELS, TEXTS = (list(column) for column in zip(*messages(), strict=True))
OPTIONS: dict[str, Any] = {"backbone": "scratch:tiny", "threads": 1, "settings": settings()}
QUICK: dict[str, Any] = {"backbone": "scratch:tiny", "threads": 1, "tune": "head"}


def test_a_file_gives_the_run_of_the_command_line(tmp_path: Path) -> None:
    result = package.train(table(), tmp_path / "python", **OPTIONS)
    assert tamis("train", table(), *TINY, "-o", tmp_path / "command").code == 0
    here, there = contents(tmp_path / "python"), contents(tmp_path / "command")
    assert {name for name in here if not name.startswith("plots/")} == set(there)
    for name in ("recipe.toml", "history.jsonl", "predictions.jsonl", "model/model.safetensors"):
        assert here[name] == there[name], name
    report = json.loads(here["report.json"])
    assert result.to_dict() == report and result.path == tmp_path / "python"
    assert result.report["f1"] == report["test"]["f1"]
    assert set(result.report.baselines) == {"majority", "tfidf"}
    assert f"run folder: {tmp_path / 'python'}" in repr(result)
    assert "tamis-report" in result._repr_html_()


def test_a_data_frame_gives_the_same_model_as_its_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": pd.Categorical(LABELS)})
    found = package.train(frame, tmp_path / "frame", **QUICK)
    file = package.train(table(), str(tmp_path / "file"), **QUICK)
    assert found.classifier.fingerprint() == file.classifier.fingerprint()
    assert found.report.metrics == file.report.metrics
    assert found.to_dict()["data"] == "dataframe"


def test_the_classifier_is_the_saved_one_and_knows_its_training_rows(tmp_path: Path) -> None:
    result = package.train(table(), tmp_path / "run", **QUICK)
    loaded = TextClassifier.load(result.path, threads=1)
    assert loaded.fingerprint() == result.classifier.fingerprint()
    assert loaded.predict(TEXTS).tolist() == result.classifier.predict(TEXTS).tolist()
    assert result.classifier.evaluate(TEXTS[:30], LABELS[:30]).baselines


def test_the_folder_has_a_default_and_is_not_overwritten_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = {"text": TEXTS, "label": LABELS}
    result = package.train(data, **QUICK)
    assert result.path == Path("runs") / "dataframe-scratch-tiny-head"
    with pytest.raises(RunError, match="finished run"):
        package.train(data, **QUICK)
    again = package.train(data, overwrite=True, **QUICK)
    assert again.report.metrics == result.report.metrics


def test_another_data_frame_does_not_resume_a_run(tmp_path: Path) -> None:
    class Stop:
        def __enter__(self) -> Stop:
            return self

        def __exit__(self, *_: object) -> None: ...

        def begin(self, settings: object) -> None: ...

        def finish(self, report: object) -> None: ...

        def log(self, row: object) -> None:
            raise KeyboardInterrupt

    data = {"text": TEXTS, "label": LABELS}
    with pytest.raises(KeyboardInterrupt):
        package.train(data, tmp_path / "run", log=Stop(), **OPTIONS)
    with pytest.raises(RunError, match="differs from this one in: data"):
        package.train({**data, "text": TEXTS[::-1]}, tmp_path / "run", **OPTIONS)


def test_verbose_shows_notes_and_bars_and_the_logger_has_the_notes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="tamis"):
        package.train(table(), tmp_path / "quiet", **QUICK)
    assert capfd.readouterr() == ("", "")
    assert any("tune: head" in record.getMessage() for record in caplog.records)
    package.train(table(), tmp_path / "loud", verbose=True, **QUICK)
    out, err = capfd.readouterr()
    assert out == "" and "tune: head (requested)" in err and "100%" in err


def test_options_are_those_of_the_command_line() -> None:
    options: TrainingOptions = {
        "backbone": Path("nano"),
        "robust": True,
        "positive": 1,
        "class_weight": {0: 1.0, 1: 5.0},
        "max_fpr": "0.2%",
        "settings": {"text.pooling": "mean", "seed": 7},
    }
    found = training_recipe(Recipe().changed({"tune": "head"}), options)
    assert (found.backbone, found.tune, found.seed) == ("nano", "head", 7)
    assert (found.data.positive, found.decision.max_fpr) == ("1", 0.002)
    assert found.train.class_weight == {"0": 1.0, "1": 5.0}
    assert (found.text.normalize, found.text.pooling) == ("robust", "mean")
    assert training_recipe("tp2", {}).data.split == "tp2"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"epochs": 3}, r"no option 'epochs'.*settings="),
        ({"settings": {"train.epoch": 3}}, "unknown setting 'train.epoch'"),
        ({"tune": "everything"}, "tune"),
        ({"log": "paper"}, "expected one of tensorboard"),
        ({"recipe": "nothing"}, "nothing"),
    ],
)
def test_wrong_options_are_refused_before_training(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        package.train(table(), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        package.train(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="got list"):
        package.train([1, 2])


def test_importing_the_package_does_not_import_the_workflow() -> None:
    code = "import sys, tamis; print('torch' in sys.modules, 'tamis.workflows' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
