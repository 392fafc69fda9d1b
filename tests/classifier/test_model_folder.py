"""Where a run keeps its model, what is told about folders without one, and the columns that the
model remembers.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamis import CheckpointError, RunError
from tamis.classifier.model_folder import find_model, training_columns
from tests import runs
from tests.rows import messages


def test_a_file_exists_but_is_no_run(tmp_path: Path) -> None:
    table = tmp_path / "tickets.csv"
    table.write_text("label,text\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"tickets.csv exists but is no run: it is a file") as caught:
        find_model(table)
    assert f"tamis train {table}" in str(caught.value)
    assert "does not exist" not in str(caught.value)


def test_a_folder_of_runs_is_no_run_and_names_them(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"exists but is no run: it contains no model") as no:
        find_model(tmp_path)
    assert "did you mean" not in str(no.value)
    for name in ("a", "b"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        find_model(tmp_path)
    assert str(caught.value).endswith(f"; did you mean {tmp_path / 'a'}, {tmp_path / 'b'}?")


def test_a_misspelled_run_is_told_with_the_similar_one(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    with pytest.raises(RunError, match=r"does not exist; .*; did you mean '.*first'\?"):
        find_model(tmp_path / "frist")


def test_a_run_remembers_the_columns_of_its_training(tmp_path: Path) -> None:
    # The table has no header, so its columns are numbered.
    assert training_columns(runs.finished_run()) == ("2", "1")
    copy = runs.copy_of(runs.finished_run(), tmp_path / "run")
    about = copy / "model" / "tamis.json"
    values = json.loads(about.read_text(encoding="utf-8"))
    for data, found in (
        ({"text": "customer message", "label": "verdict"}, ("customer message", "verdict")),
        ({"text": 5, "label": None}, (None, None)),
        ([], (None, None)),
        (None, (None, None)),
    ):
        about.write_text(json.dumps({**values, "data": data, "recipe": {}}), encoding="utf-8")
        assert training_columns(copy) == found
    about.write_text("[]", encoding="utf-8")
    assert training_columns(copy) == (None, None)


def test_an_exported_folder_remembers_the_columns_that_were_asked_for(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    source = {"recipe": {"data": {"text": "note", "label": None}}}
    (tmp_path / "tamis.json").write_text(json.dumps({"source": source}), encoding="utf-8")
    assert training_columns(tmp_path) == ("note", None)


def test_an_evaluation_uses_the_columns_of_the_training_and_options_win(tmp_path: Path) -> None:
    run = runs.copy_of(runs.head_model(), tmp_path / "model")
    about = run / "tamis.json"
    values = json.loads(about.read_text(encoding="utf-8"))
    values["data"] = {"text": "words", "label": "second"}
    about.write_text(json.dumps(values), encoding="utf-8")
    swapped = {"ham": "spam", "spam": "ham"}
    (tmp_path / "t.jsonl").write_text(
        "\n".join(
            json.dumps({"first": label, "second": swapped[label], "words": text})
            for label, text in messages()
        ),
        encoding="utf-8",
    )
    table = tmp_path / "t.jsonl"
    remembered = json.loads(runs.tamis("evaluate", run, table, "--json").out)
    asked = json.loads(runs.tamis("evaluate", run, table, "--label", "first", "--json").out)
    assert remembered["test"]["accuracy"] == pytest.approx(1 - asked["test"]["accuracy"])
    about.write_text(json.dumps({**values, "data": {}}), encoding="utf-8")
    error = runs.tamis("evaluate", run, table, "--json").error
    assert "several candidates: 'first' (ham, spam), 'second' (ham, spam)" in error
