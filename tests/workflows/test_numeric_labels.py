"""Numbers as labels from the table to the model and back: in any format, in numeric order."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.rows import messages
from tests.runs import EPOCH, TINY, tamis

ONE = ("--threads", "1")
TWELVE = [
    (str(n % 12), f"{text} {'abcdefghijkl'[n % 12] * 9}") for n, (_, text) in enumerate(messages())
][:72]
TWO = [("1.0" if label == "spam" else "0.0", text) for label, text in messages()]


def csv_file(path: Path, rows: list[tuple[str, str]]) -> Path:
    body = "".join(f'{label},"{text.replace(chr(34), chr(34) * 2)}"\n' for label, text in rows)
    path.write_text("label,text\n" + body, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the labels 0.0 and 1.0, with 1.0 as the positive label."""
    folder = tmp_path_factory.mktemp("two")
    table = csv_file(folder / "t.csv", TWO)
    run = folder / "run"
    said = tamis("train", table, "-o", run, *TINY, *EPOCH, "--positive", "1.0")
    assert said.code == 0, said.err
    return run


def test_the_class_of_transformers_is_the_label(tmp_path: Path) -> None:
    table = csv_file(tmp_path / "t.csv", TWELVE)
    said = tamis("train", table, "-o", tmp_path / "run", *TINY, *EPOCH, "--split", "none")
    assert said.code == 0, said.err
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["id2label"] == {str(n): str(n) for n in range(12)}
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["classes"] == [str(n) for n in range(12)]
    verdict = json.loads(tamis("predict", tmp_path / "run", "hello", "--json", *ONE).out)
    assert list(verdict["probabilities"]) == [str(n) for n in range(12)]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "floats.parquet", "integers.parquet"])
def test_a_model_is_evaluated_on_numbers_of_any_format(
    two: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    rows = TWO[:40]
    texts = [text for _, text in rows]
    if name == "t.csv":
        csv_file(path, [(label.removesuffix(".0"), text) for label, text in rows])
    elif name == "t.jsonl":
        lines = [json.dumps({"text": text, "label": float(label)}) for label, text in rows]
        path.write_text("\n".join(lines))
    else:
        labels = [float(label) for label, _ in rows]
        pl.DataFrame(
            {"text": texts, "label": labels if name[0] == "f" else [int(n) for n in labels]}
        ).write_parquet(path)
    said = tamis("evaluate", two, path, "--json", "--positive", "1.0", *ONE)
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert (report["classes"], report["positive"], report["test"]["n"]) == (["0", "1"], "1", 40)
    assert report["threshold"] is not None  # that of the model: its positive label was found


def test_corrections_and_test_rows_may_spell_numbers_otherwise(two: Path, tmp_path: Path) -> None:
    corrections = csv_file(tmp_path / "c.csv", [("1.00", "call me now"), ("0", "win a prize")])
    said = tamis("learn", two, corrections, "--store", tmp_path / "s.sqlite", "--json", *ONE)
    assert said.code == 0, said.err
    assert len(json.loads(said.out)["ids"]) == 2
    wrong = csv_file(tmp_path / "w.csv", [("2", "call me"), ("0", "win a prize"), ("3", "hello")])
    error = tamis("learn", two, wrong, "--store", tmp_path / "s.sqlite", *ONE).error
    assert (
        "2 rows are faulty: line 2: label '2' is not one of the model's labels ('0', '1')" in error
    )
    table = csv_file(tmp_path / "t.csv", TWO)
    test = csv_file(tmp_path / "test.csv", [("1", "win a prize"), ("0", "call me")])
    said = tamis("data", table, "--test", test, "--json", "--backbone", "scratch:tiny")
    assert said.code == 0, said.err
    assert json.loads(said.out)["parts"]["test"]["classes"] == {"0": 1, "1": 1}


def test_a_label_of_one_row_is_named_before_training(tmp_path: Path) -> None:
    table = csv_file(tmp_path / "t.csv", [*TWO[:60], ("7", "one of a kind")])
    said = tamis("train", table, "-o", tmp_path / "run", *TINY, *EPOCH, "--split", "none")
    assert said.code == 0, said.err
    note = said.err.index("labels with a single row: '7' (line 62)")
    assert note < said.err.index("tune: ")
    shown = tamis("data", table, "--backbone", "scratch:tiny")
    assert "labels with a single row: '7' (line 62)" in shown.out


def test_the_header_can_be_given_on_the_command_line(two: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("Ok\n" + "".join(f"{text.split(',')[0]}\n" for _, text in TWO[:30]))
    asked = tamis("predict", two, "--file", path, *ONE)
    assert "give --header if it names the columns, --no-header if it does not" in asked.error
    for option, count in (("--header", 30), ("--no-header", 31)):
        said = tamis("predict", two, "--file", path, option, *ONE)
        assert (said.code, len(said.out.splitlines())) == (0, count), said.err
    table = tmp_path / "t.csv"
    table.write_text("spam,text\n" + "spam,win a prize now\nham,see you at six\n" * 9)
    asked = tamis("data", table, "--backbone", "scratch:tiny")
    assert "this row can be read in two ways" in asked.error
    for option, rows in (("--header", 18), ("--no-header", 19)):
        said = tamis(
            "data", table, option, "--json", "--split", "none", "--backbone", "scratch:tiny"
        )
        assert json.loads(said.out)["parts"]["train"]["rows"] == rows
